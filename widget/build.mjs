/**
 * From src/ to the one file a page loads: server/static/widget/chatkit.js, its source map, and the compressed
 * siblings that aiohttp's FileResponse sends to whoever accepts them.
 *
 * chatkit.js is written last, so that an interrupted build is never taken for a finished one.
 */
import {mkdir, readFile, writeFile} from 'node:fs/promises';
import {fileURLToPath} from 'node:url';
import {promisify} from 'node:util';
import {brotliCompress, constants, gzip} from 'node:zlib';
import {build} from 'esbuild';

const root = fileURLToPath(new URL('.', import.meta.url));
const folder = fileURLToPath(new URL('../server/static/widget/', import.meta.url));
const script = `${folder}chatkit.js`;

/** The style sheet is a text, which the minifier leaves as it is: without its comments and indents it is as good. */
const squeezedStyles = {
  name: 'squeezed-styles',
  setup({onLoad}) {
    onLoad({filter: /\/styles\.ts$/}, async ({path}) => {
      const source = await readFile(path, 'utf8');
      const contents = source.replace(/\/\*.*?\*\//gs, '').replace(/\n\s+/g, '\n');
      return {contents, loader: 'ts'};
    });
  },
};

const {outputFiles} = await build({
  absWorkingDir: root,
  entryPoints: ['src/loader.ts'],
  outfile: script,
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  sourcemap: 'linked',
  legalComments: 'none',
  banner: {
    js: '/*! ChatKit. MIT. Includes eventsource-parser, MIT, (c) Espen Hovlandsdal <espen@hovlandsdal.com> */',
  },
  write: false,
  plugins: [squeezedStyles],
});
const map = outputFiles.find((file) => file.path.endsWith('.map'));
const code = outputFiles.find((file) => file.path === script);
const [gz, br] = await Promise.all([
  promisify(gzip)(code.contents, {level: 9}),
  promisify(brotliCompress)(code.contents, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
    },
  }),
]);

await mkdir(folder, {recursive: true});
await writeFile(map.path, map.contents);
await writeFile(`${script}.gz`, gz);
await writeFile(`${script}.br`, br);
await writeFile(script, code.contents);
console.log(`chatkit.js ${code.contents.length} bytes, gzip ${gz.length}, brotli ${br.length}`);
