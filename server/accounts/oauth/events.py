"""What the log tells of sign-ins with an identity provider.

Never a code, a token, a secret or a mail address; the `sign_in` of an event finds the others of the same one, which may come with requests of
different IDs: the page begins and ends it, the browser comes back in between.
"""

from pipeline.catalogue import Event, Field, declare

declare(
    [
        Event(
            "oauth_started",
            "INFO",
            "Somebody is on the way to an identity provider, to sign in.",
            {
                "sign_in": Field("its ID"),
                "provider": Field("where"),
                "account": Field("the account to which the identity is to be added, or null"),
            },
        ),
        Event(
            "account_signed_in",
            "INFO",
            "An identity provider has vouched for somebody, and they are signed in.",
            {
                "account": Field("the account's ID"),
                "created": Field("whether it was made just now"),
                "linked": Field("whether the identity opens it from now on, and did not before"),
                "session": Field("the session that begins"),
                "provider": Field("who vouched"),
                "sign_in": Field("the sign-in's ID"),
                "conversations": Field(
                    "how many they had as an anonymous visitor, which are the account's now"
                ),
            },
        ),
        Event(
            "oauth_failed",
            "WARNING",
            "A sign-in with an identity provider did not succeed.",
            {
                "provider": Field("which; null when it is not known"),
                "sign_in": Field("the sign-in's ID; null when it is not known"),
                "reason": Field(
                    "at the beginning: `provider_unavailable`; when the browser came back: `state_unknown`, `state_used`, `state_expired`, `provider_mismatch`, `issuer_mismatch`, "
                    "`denied` (by the person), `provider_error`, `code_missing`, `provider_unavailable`; at the end: `token_unknown`, `token_used`, `token_expired`, "
                    "`other_browser`, `code_damaged`, `other_account`, `account_gone`, `provider_gone`, `provider_unavailable`, `code_refused`, `userinfo_sub`, "
                    "`id_token_` and what is wrong with it; of the account: `identity_taken`, `account_taken`, `email_missing`, "
                    "`email_not_verified`, `account_exists`"
                ),
            },
        ),
    ]
)
