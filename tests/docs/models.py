"""The models that the documents' servers ask: on this machine, and served by the tests."""

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


def embedding(model: ModelEndpoint) -> dict[str, str]:
    """The settings of a server for which `model` embeds, and which leaves it alone soon and for long."""
    return {
        "EMBEDDING_BASE_URL": model.url,
        "EMBEDDING_MODEL": "bge-m3",
        "EMBEDDING_API_KEY": "sk-example",
        "LLM_BREAKER_FAILURES": str(BREAKER_FAILURES),
        "LLM_BREAKER_SECONDS": "60",
    }
