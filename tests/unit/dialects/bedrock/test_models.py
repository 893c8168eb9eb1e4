import pytest

from extproc.dialects.bedrock import models

ACCOUNT = "arn:aws:bedrock:eu-west-1:123456789012"


@pytest.mark.parametrize(
    ("model", "vendor", "name", "foundation"),
    [
        (
            "anthropic.claude-3-7-sonnet-20250219-v1:0",
            "anthropic",
            "claude-3-7-sonnet-20250219",
            "anthropic.claude-3-7-sonnet-20250219-v1:0",
        ),
        (
            "us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "anthropic",
            "claude-sonnet-4-5-20250929",
            "anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        ("global.anthropic.claude-opus-4-6-v1", "anthropic", "claude-opus-4-6",
         "anthropic.claude-opus-4-6-v1"),
        ("us.amazon.nova-lite-v1:0", "amazon", "nova-lite", "amazon.nova-lite-v1:0"),
        ("amazon.nova-pro-v1:0:300k", "amazon", "nova-pro", "amazon.nova-pro-v1:0:300k"),
        ("openai.gpt-oss-20b-1:0", "openai", "gpt-oss-20b-1:0", "openai.gpt-oss-20b-1:0"),
        (
            f"{ACCOUNT}:inference-profile/eu.anthropic.claude-sonnet-4-20250514-v1:0",
            "anthropic",
            "claude-sonnet-4-20250514",
            "anthropic.claude-sonnet-4-20250514-v1:0",
        ),
        (
            "arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-1-8b-instruct-v1:0",
            "meta",
            "llama3-1-8b-instruct",
            "meta.llama3-1-8b-instruct-v1:0",
        ),
        (f"{ACCOUNT}:application-inference-profile/abc123", "", "", ""),
        (f"{ACCOUNT}:imported-model/abcdefghijkl", "", "", ""),
        ("arn:aws:sagemaker:us-east-1:123456789012:endpoint/mine", "", "", ""),
        ("", "", "", ""),
    ],
)  # fmt: skip
def test_ids(model: str, vendor: str, name: str, foundation: str) -> None:
    found = models.of(model)
    assert (found.vendor, found.name, found.foundation) == (vendor, name, foundation)


def test_thinking_is_marked_by_who_can_read_it() -> None:
    assert models.of("us.anthropic.claude-sonnet-4-5-20250929-v1:0").format == "anthropic-claude-v1"
    assert models.of("us.amazon.nova-2-lite-v1:0").format == "aws-bedrock-v1"
