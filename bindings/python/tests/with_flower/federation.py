"""A federation of four clients on the loopback interface: Flower's own server, strategies,
clients and transport. Client 0 is honest, the others are as `kind` says.

    python federation.py ours|theirs fixed|adaptive KIND

Prints, as JSON, the server's arrays after each round, or how it ended."""

import json
import logging
import multiprocessing
import socket
import sys

import numpy as np

LIMIT = 1.0
START = [np.float32([1, 2, 3, 4]), np.float32([[0.5]])]


def update(kind, number):
    """What the client adds to the server's arrays."""
    step = np.full(4, 0.25 * (number + 1), "f4")
    bias = np.float32([[0.125]])
    if number == 0:
        return [step, bias]
    if kind == "nan":
        step[2] = np.nan
    elif kind == "zero":
        step[:], bias = 0, np.zeros((1, 1), "f4")
    elif kind == "huge":
        step[1] = 3e38
    return [step, bias]


def client(port, kind, number):
    import flwr

    logging.disable(logging.CRITICAL)

    class Client(flwr.client.NumPyClient):
        def fit(self, parameters, config):
            with np.errstate(all="ignore"):
                added = [p + u.astype(p.dtype) for p, u in zip(parameters, update(kind, number))]
            added += [np.int64(p) + number for p in parameters[2:]]  # a counter of batches
            if kind == "half":
                added[:2] = [a.astype("f2") for a in added[:2]]
            if kind == "shape" and number:
                added[0] = added[0][:2]
            return added, 1, {}

    flwr.client.start_client(
        server_address=f"127.0.0.1:{port}", client=Client().to_client(), insecure=True, max_wait_time=60
    )


def main(whose, rule, kind):
    import flwr
    from flwr.server.strategy import (
        DifferentialPrivacyServerSideAdaptiveClipping,
        DifferentialPrivacyServerSideFixedClipping,
        FedAvg,
    )

    if whose == "ours":
        import gradclip.flower

        gradclip.flower.patch()
    start = START + ([np.array([3])] if kind == "counter" else [])
    rounds = []

    class Recorded(FedAvg):
        def aggregate_fit(self, server_round, results, failures):
            made = super().aggregate_fit(server_round, results, failures)
            rounds.append([a.tolist() for a in flwr.common.parameters_to_ndarrays(made[0])])
            return made

    inner = Recorded(
        inplace=False, fraction_fit=1.0, fraction_evaluate=0.0, min_fit_clients=4, min_available_clients=4,
        initial_parameters=flwr.common.ndarrays_to_parameters(start),
    )
    if rule == "fixed":
        strategy = DifferentialPrivacyServerSideFixedClipping(inner, 0.0, LIMIT, 4)
    else:
        strategy = DifferentialPrivacyServerSideAdaptiveClipping(inner, 0.0, 4, initial_clipping_norm=LIMIT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    clients = [spawn.Process(target=client, args=(port, kind, k), daemon=True) for k in range(4)]
    for one in clients:
        one.start()
    ended = "done"
    try:
        flwr.server.start_server(
            server_address=f"127.0.0.1:{port}", strategy=strategy,
            config=flwr.server.ServerConfig(num_rounds=2, round_timeout=60),
        )
    except Exception as error:
        ended = f"{type(error).__name__}: {error}"
    for one in clients:
        one.join(10 if ended == "done" else 0)
        one.kill()
    print(json.dumps({"ended": ended, "rounds": rounds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
