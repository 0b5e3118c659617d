"""What scoring costs where nothing is added: Starlette and uvicorn, and the ONNX model of an artefact.

    python benchmarks/bare.py warehouse/simulator/models/19a20a10f8d6c4ca

`POST /` takes the model's inputs as float32, little-endian, in the order of the model card, and answers
`{"fraud_probability": …}`. No decoding of JSON, no features, no state, no rules, nothing remembered. Listens on a
free port of loopback and prints it on a line of its own when it can answer.
"""

import argparse
import gc
import socket
from pathlib import Path

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fraud_platform.models.artefact import Artefact


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artefact", type=Path, help="the model artefact's directory")
    arguments = parser.parse_args()
    artefact = Artefact.load(arguments.artefact)
    artefact.predict(np.zeros((1, len(artefact.card.feature_columns)), np.float32))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        print(listener.getsockname()[1], flush=True)
        gc.collect()
        gc.freeze()  # as the service does
        config = uvicorn.Config(build_app(artefact), log_config=None, access_log=False)
        uvicorn.Server(config).run(sockets=[listener])


def build_app(artefact: Artefact) -> Starlette:
    async def score(request: Request) -> Response:
        row = np.frombuffer(await request.body(), "<f4")[np.newaxis, :]
        probability = artefact.predict(row)[0]
        return Response(b'{"fraud_probability": %r}' % float(probability), media_type="application/json")

    return Starlette(routes=[Route("/", score, methods=["POST"])])


if __name__ == "__main__":
    main()
