"""The official Python SDK, in the version that Debian carries, as a client of Coffer: python_client.py SCENARIO.

Each scenario is one test; it ends with 1, and says why, when something is not as Stripe's API has it. COFFER_URL,
COFFER_API_KEY and COFFER_ADMIN_KEY name the server. Every scenario keeps to an account of its own, so that they may
run at once.
"""

import os
import re
import sys
import time

import stripe

Secret = stripe.apps.Secret
stripe.api_base = os.environ["COFFER_URL"]
stripe.api_key = os.environ["COFFER_API_KEY"]
scenario = sys.argv[1]
acting = {"stripe_account": f"acct_python_{scenario}"}
at_account = {"scope": {"type": "account"}, **acting}


def refused(kind, call, **expected):
    try:
        answer = call()
    except stripe.error.StripeError as error:
        assert type(error) is kind, f"{error!r} is no {kind.__name__}"
        for field, value in expected.items():
            assert getattr(error, field) == value, f"{field} of {error!r}"
        return error
    raise AssertionError(f"not refused: {answer}")


def absent(**where):
    refused(stripe.error.InvalidRequestError, lambda: Secret.find(**where), http_status=404,
            code="resource_missing", param="name")


def set_a_secret():
    secret = Secret.create(name="my-api-key", payload="secret_key_xxxxxx", **at_account)
    assert re.fullmatch(r"appsecret_[0-9A-Za-z]{30}", secret.id)
    assert re.fullmatch(r"req_[0-9A-Za-z]{14}", secret.last_response.request_id)
    assert abs(secret.created - time.time()) < 60
    rest = {key: value for key, value in secret.to_dict_recursive().items() if key not in ("id", "created")}
    assert rest == {
        "object": "apps.secret", "expires_at": None, "livemode": False, "name": "my-api-key",
        "scope": {"type": "account"},
    }, rest
    replaced = Secret.create(name="my-api-key", payload="ключ 🔑 +%&=", expand=["payload"], **at_account)
    assert (replaced.id, replaced.payload) == (secret.id, "ключ 🔑 +%&=")


def find():
    Secret.create(name="k", payload="p", **at_account)
    assert "payload" not in Secret.find(name="k", **at_account)
    assert Secret.find(name="k", expand=["payload"], **at_account).payload == "p"


def user_scope():
    ann, bob = ({"scope": {"type": "user", "user": user}, **acting} for user in ("usr_ann", "usr_bob"))
    assert Secret.create(name="token", payload="of Ann", **ann).scope.user == "usr_ann"
    absent(name="token", **bob)
    absent(name="token", **at_account)
    assert Secret.find(name="token", expand=["payload"], **ann).payload == "of Ann"


def account():
    scope = {"scope": {"type": "account"}}
    Secret.create(name="config", payload="of one", stripe_account="acct_python_one", **scope)
    Secret.create(name="config", payload="of its own", **scope)
    absent(name="config", stripe_account="acct_python_two", **scope)
    assert Secret.find(name="config", expand=["payload"], stripe_account="acct_python_one", **scope).payload == "of one"
    assert Secret.find(name="config", expand=["payload"], **scope).payload == "of its own"


def pages():
    names = [f"secret-{number}" for number in range(10)]
    for name in names:
        Secret.create(name=name, payload="p", **at_account)
    first = Secret.list(limit=3, **at_account)
    assert first.has_more and len(first.data) == 3
    walked = list(first.auto_paging_iter())
    assert [secret.name for secret in walked] == names[::-1]
    back = Secret.list(limit=3, ending_before=walked[-1].id, **at_account).auto_paging_iter()
    assert [secret.name for secret in back] == names[1:]


def delete():
    secret = Secret.create(name="gone", payload="p", **at_account)
    gone = Secret.delete_where(name="gone", **at_account)
    assert gone.deleted is True
    assert (gone.id, gone.name) == (secret.id, "gone")
    absent(name="gone", **at_account)
    refused(stripe.error.InvalidRequestError, lambda: Secret.delete_where(name="gone", **at_account), http_status=404)


def authentication_error():
    error = refused(stripe.error.AuthenticationError,
                    lambda: Secret.list(api_key="sk_test_51NotOfThisStore", **at_account), http_status=401)
    assert "51NotOfThisS" not in str(error), "a key is never shown whole"


def permission_error():
    admin = os.environ["COFFER_ADMIN_KEY"]
    refused(stripe.error.PermissionError, lambda: Secret.list(api_key=admin, **at_account), http_status=403)
    refused(stripe.error.PermissionError,
            lambda: Secret.create(api_key=admin, name="k", payload="p", **at_account), http_status=403)


def invalid_request_error():
    def bad(code, param, **params):
        refused(stripe.error.InvalidRequestError, lambda: Secret.create(**params, **acting), http_status=400,
                code=code, param=param)

    account_scope = {"type": "account"}
    bad("parameter_missing", "name", scope=account_scope, payload="p")
    bad("parameter_missing", "scope", name="k", payload="p")
    bad("parameter_invalid_empty", "name", scope=account_scope, name="", payload="p")
    bad("parameter_unknown", "nmae", scope=account_scope, name="k", payload="p", nmae="k")
    bad(None, "scope[user]", scope={"type": "account", "user": "usr_1"}, name="k", payload="p")
    absent(name="k", **at_account)


def idempotency():
    params = {"name": "k", "payload": "p", "idempotency_key": "again", **at_account}
    first, second = Secret.create(**params), Secret.create(**params)
    assert second.id == first.id
    assert "Idempotent-Replayed" not in first.last_response.headers
    assert second.last_response.headers["Idempotent-Replayed"] == "true"
    assert second.last_response.headers["Original-Request"] == first.last_response.request_id
    other = {**params, "payload": "other"}
    refused(stripe.error.IdempotencyError, lambda: Secret.create(**other), http_status=400)
    assert Secret.find(name="k", expand=["payload"], **at_account).payload == "p"


def suite():
    """What the SDKs' own suites call, in their order and in the app's own account."""
    here = {"scope": {"type": "account"}}
    for _ in range(2):
        assert Secret.find(name="sec_123", **here).name == "sec_123"
        assert Secret.delete_where(name="my-api-key", **here).deleted
        assert len(Secret.list(limit=2, **here).data) == 2
        Secret.create(name="sec_123", payload="very secret string", **here)
        Secret.create(name="my-api-key", payload="secret_key_xxxxxx", **here)
        Secret.delete_where(name="my-api-key", **here)
        Secret.delete_where(name="my-api-key", **here)


{
    "suite": suite,
    "set": set_a_secret, "find": find, "user_scope": user_scope, "account": account, "pages": pages, "delete": delete,
    "authentication_error": authentication_error, "permission_error": permission_error,
    "invalid_request_error": invalid_request_error, "idempotency": idempotency,
}[scenario]()
