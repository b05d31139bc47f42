"""An OpenTelemetry receiver that takes metrics strictly by their protobuf definition.

For each request it prints a line of JSON: path, content type, and every data point as
[metric, kind, attributes, value]. A field that the definition does not have, or a value of the wrong
type, is an error, which it prints and answers with 400. First it prints its port.
"""
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics


def text(attributes):
    return {one.key: one.value.string_value for one in attributes}


def points(metric):
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    if kind == "sum":
        cumulative = metrics.AGGREGATION_TEMPORALITY_CUMULATIVE
        assert data.is_monotonic and data.aggregation_temporality == cumulative, metric.name
    for point in data.data_points:
        assert point.time_unix_nano >= point.start_time_unix_nano, metric.name
        assert (kind == "sum") == (point.start_time_unix_nano > 0), metric.name
        value = getattr(point, point.WhichOneof("value"))
        yield [metric.name, kind, text(point.attributes), value]


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            asked = json_format.Parse(body, service.ExportMetricsServiceRequest())
            [resource] = asked.resource_metrics
            [scope] = resource.scope_metrics
            said = {
                "path": self.path,
                "type": self.headers["Content-Type"],
                "resource": text(resource.resource.attributes),
                "points": [point for metric in scope.metrics for point in points(metric)],
            }
            status = 200
        except Exception as error:
            said, status = {"error": repr(error)}, 400
        print(json.dumps(said), flush=True)
        answer = json_format.MessageToJson(service.ExportMetricsServiceResponse()).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
