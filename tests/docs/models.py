"""The language model that the documents' servers ask: one on this machine, which the tests serve."""

from tests.model_endpoint import ModelEndpoint

BREAKER_FAILURES = 3


def asking(model: ModelEndpoint) -> dict[str, str]:
    """The settings of a server that asks `model`, and leaves it alone soon and for long."""
    return {
        "LLM_BASE_URL": model.url,
        "LLM_MODEL": "llama3.2",
        "LLM_API_KEY": "sk-example",
        "LLM_BREAKER_FAILURES": str(BREAKER_FAILURES),
        "LLM_BREAKER_SECONDS": "60",
    }
