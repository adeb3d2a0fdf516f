"""What wrk prints is read as it means it."""

import pytest

from tests.bench.stack import read

PRINTED = """\
Running 3s test @ http://127.0.0.1:8000/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.16ms  506.81us  12.65ms   91.10%
    Req/Sec    14.91k     1.35k   16.94k    76.67%
  Latency Distribution
     50%    2.05ms
     75%    2.21ms
     90%    2.53ms
     99%    {p99}
  44490 requests in 3.00s, 10.14MB read
Requests/sec:  14827.43
Transfer/sec:      3.38MB
"""


@pytest.mark.parametrize(("p99", "milliseconds"), [("812.50us", 0.8125), ("4.35ms", 4.35), ("1.02s", 1020.0)])
def test_what_wrk_prints_is_read_in_milliseconds(p99: str, milliseconds: float) -> None:
    figures = read(PRINTED.format(p99=p99))
    assert figures["p99_ms"] == pytest.approx(milliseconds)
    assert figures["requests_s"] == 14827.43
    assert figures["requests"] == 44490
