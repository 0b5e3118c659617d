"""A BentoML service of one route behind the guard: to start `bentoml serve` on without a model or a Bento."""

import os

import bentoml
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bentos.fraud_scoring.binding import refuse_open_binding
from bentos.fraud_scoring.body import RequestRefused
from bentos.fraud_scoring.edge import Edge
from bentos.fraud_scoring.guard import Guard
from bentos.fraud_scoring.logs import configure_logs, note
from fraud_platform.errors import FraudPlatformError
from fraud_platform.pseudonyms import Pseudonyms
from fraud_platform.settings import Settings, load_settings

guards: list[Guard] = []


async def who(request: Request) -> Response:
    try:
        return JSONResponse({"name": guards[0].admit(request, "score").name})
    except RequestRefused as error:
        note(request, route="/who", code=error.refusal.code)
        return JSONResponse(msgspec.to_builtins(error.refusal), error.status, error.headers)


def refuse(settings: Settings) -> None:
    try:
        refuse_open_binding(settings)
    except FraudPlatformError as error:
        raise SystemExit(f"The service does not start: {error}") from None


@bentoml.asgi_app(Starlette(routes=[Route("/who", who)]), path="/")
@bentoml.service(
    name="guarded",
    workers=1,
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    http={"host": "127.0.0.1"},
)
class Guarded:
    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        settings = load_settings()
        configure_logs(Pseudonyms())
        if os.environ.get("PARENT_CHECK") != "off":
            refuse(settings)

    def __init__(self) -> None:
        settings = load_settings()
        configure_logs(Pseudonyms())
        refuse(settings)
        guards[:] = [Guard(settings)]


Guarded.add_asgi_middleware(Edge)  # pyright: ignore[reportArgumentType] - the type asks for a factory
