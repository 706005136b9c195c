"""Decodes what an exporter has sent, by the protocol's published schema: every field must be there
and of its type. Usage: otlp_decode.py FILE..., each named traces-* or metrics-*; prints how many
spans and metrics they hold."""

import base64
import json
import os
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

# OTLP's JSON has these in hexadecimal, where protobuf's has base64.
IDS = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


def with_ids(value):
    if isinstance(value, list):
        return [with_ids(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for key, each in value.items():
        if key in IDS:
            raw = bytes.fromhex(each)
            assert len(raw) == IDS[key] and any(raw), f"{key}: {each}"
            made[key] = base64.b64encode(raw).decode()
        else:
            made[key] = with_ids(each)
    return made


def main():
    spans, metrics = 0, 0
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            document = with_ids(json.load(file))
        if os.path.basename(path).startswith("traces-"):
            request = json_format.ParseDict(document, ExportTraceServiceRequest())
            for resource in request.resource_spans:
                assert any(one.key == "service.name" for one in resource.resource.attributes)
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        assert span.kind == span.SPAN_KIND_SERVER and span.name, span
                        assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano, span
                        spans += 1
        else:
            request = json_format.ParseDict(document, ExportMetricsServiceRequest())
            for resource in request.resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        kind = metric.WhichOneof("data")
                        points = getattr(metric, kind).data_points
                        assert metric.name, metric
                        for point in points:
                            assert point.time_unix_nano > 0, metric
                            if kind == "histogram":
                                assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
                                assert sum(point.bucket_counts) == point.count, metric
                        metrics += 1
    print(f"{spans} spans, {metrics} metrics")


main()
