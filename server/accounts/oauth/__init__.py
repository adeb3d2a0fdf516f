"""Signing in with an account that somebody has elsewhere: OAuth 2 with PKCE, and OpenID Connect on top of it where there is that.

    start ──► provider ──► callback ──► page ──► finish ──► session

What this server is told by others is evidence here, and nothing more: it is checked, bounded, and never shown to anybody.
"""
