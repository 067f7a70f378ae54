"""The section of a report on the metrics that are not compared, which are known of the same runs."""

from torchmoments_lab.metrics import EXPLAINED, METRICS, NAMES
from torchmoments_lab.report import wording
from torchmoments_lab.report.page import Section, Table, Text
from torchmoments_lab.report.summary import Summary


def section(summary: Summary) -> Section:
    known = [
        *(set(of.metrics) for of in summary.methods.values()),
        *(set(of.metrics) for of in summary.paired.values()),
    ]
    others = [metric for metric in METRICS if metric != summary.metric and all(metric in of for of in known)]
    if not others or summary.images is None:
        return Section("Other metrics", [])
    rows = []
    for metric in others:
        for name, method in summary.methods.items():
            minus = "reference"
            if name in summary.paired:
                minus = wording.with_interval(wording.adjusted(summary.paired[name].metrics[metric]), "+")
            rows.append([NAMES[metric], name, wording.with_interval(method.metrics[metric]), minus])
    headings = ["Metric", "Method", "Value", f"Minus {summary.reference}"]
    caption = "Lower is better; intervals of the differences in a metric hold for all methods together"
    table = Table(caption, headings, rows, names=2)
    said = f"They are not used for the verdict, which is on the {summary.metric_name}."
    explained = " ".join([said, *(EXPLAINED[metric] for metric in others if metric in EXPLAINED)])
    return Section("Other metrics", [table, Text(explained)])
