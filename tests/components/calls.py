"""gRPC without generated code: a server with every kind of call, and a client that makes them.

    calls.py serve ADDRESS                   serves until it is stopped; says what became of the calls
    calls.py call ADDRESS TOKEN [AUTHORITY]  makes the calls, and says in JSON what came of them; over TLS with a file of
                                             the authority to believe, and few calls without a token ("")
"""

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc


def unary(request, context):
    metadata = dict(context.invocation_metadata())
    context.send_initial_metadata([("x-initial", "first")])
    context.set_trailing_metadata([("x-last", "last"), ("x-user", metadata.get("remote-user", "nobody"))])
    return request[::-1]


def fail(request, context):
    context.set_trailing_metadata([("grpc-status-details-bin", b"\x00\x01details")])
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "zoë: 100 %")


def collect(requests, context):
    return b",".join(requests)


def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def echo(requests, context):
    for request in requests:
        yield b"echo " + request


def wait(request, context):
    """Until the client gives up; says so."""
    ended = threading.Event()
    context.add_callback(ended.set)
    yield b"begun"
    began = time.monotonic()
    ended.wait(15)
    print(f"{request.decode()} ended after {time.monotonic() - began:.1f} s", flush=True)


def large(request, context):
    return bytes(int(request))


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Collect": grpc.stream_unary_rpc_method_handler(collect),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Echo": grpc.stream_stream_rpc_method_handler(echo),
    "Wait": grpc.unary_stream_rpc_method_handler(wait),
    "Large": grpc.unary_unary_rpc_method_handler(large),
}


def serve(address):
    server = grpc.server(ThreadPoolExecutor(16))
    for service in ["test.Calls", "admin.Calls"]:
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, HANDLERS)])
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


def connect(address, authority):
    options = [("grpc.max_receive_message_length", -1)]
    if authority is None:
        return grpc.insecure_channel(address, options=options)
    with open(authority, "rb") as file:
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(file.read()), options=options)


def call(address, token, authority=None):
    metadata = [("authorization", f"Bearer {token}")] if token else []
    channel = connect(address, authority)
    said = {}

    def outcome(name, make):
        try:
            said[name] = {"result": make()}
        except grpc.RpcError as error:
            trailing = {key: str(value) for key, value in error.trailing_metadata() or ()}
            said[name] = {"code": error.code().name, "details": error.details(), "trailing": trailing}

    def one(method, request, **more):
        return channel.unary_unary(method)(request, metadata=metadata, timeout=10, **more)

    def metadata_too():
        answer, made = channel.unary_unary("/test.Calls/Unary").with_call(b"abc", metadata=metadata, timeout=10)
        initial = {key: str(value) for key, value in made.initial_metadata()}
        trailing = {key: str(value) for key, value in made.trailing_metadata()}
        return [answer.decode(), initial.get("x-initial"), trailing.get("x-last"), trailing.get("x-user")]

    def conversation():
        """Each message is sent after the answer to the one before: nothing may be held back on the way."""
        answered, heard = threading.Semaphore(1), []

        def questions():
            for number in range(20):
                answered.acquire()
                yield str(number).encode()

        for answer in channel.stream_stream("/test.Calls/Echo")(questions(), metadata=metadata, timeout=10):
            heard.append(answer.decode())
            answered.release()
        return [len(heard), heard[0], heard[-1]]

    def cancelled():
        stream = channel.unary_stream("/test.Calls/Wait")(b"cancelled", metadata=metadata)
        first = next(stream).decode()
        stream.cancel()
        return first

    def late():
        return [piece.decode() for piece in channel.unary_stream("/test.Calls/Wait")(b"late", metadata=metadata, timeout=1)]

    outcome("unary", metadata_too)
    if token:
        outcome("fail", lambda: one("/test.Calls/Fail", b"").decode())
        outcome("collect", lambda: channel.stream_unary("/test.Calls/Collect")(iter([b"a", b"b", b"c"]), metadata=metadata, timeout=10).decode())
        outcome("count", lambda: len(list(channel.unary_stream("/test.Calls/Count")(b"1000", metadata=metadata, timeout=10))))
        outcome("conversation", conversation)
        outcome("large", lambda: len(one("/test.Calls/Large", b"5000000")))
        outcome("sent", lambda: len(one("/test.Calls/Unary", bytes(3_000_000))))
        outcome("cancelled", cancelled)
        outcome("late", late)
        outcome("forbidden", lambda: one("/admin.Calls/Unary", b"").decode())
        outcome("unknown", lambda: one("/nobody.Calls/Unary", b"").decode())
        outcome("gone", lambda: one("/gone.Calls/Unary", b"").decode())
    print(json.dumps(said))


{"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
