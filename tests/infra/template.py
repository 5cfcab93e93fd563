"""infra/template.yaml as Python values, its loops with one round each."""

import pathlib

import yaml

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PATH = REPOSITORY / "infra" / "template.yaml"


class Loader(yaml.SafeLoader):
    """Knows the short forms of CloudFormation's functions: `!Sub text` is `{"Fn::Sub": text}`."""


def function(loader: Loader, suffix: str, node: yaml.Node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", function)


def load() -> dict:
    """The template; every resource and output that a loop makes stands beside the others, by the name the loop gives it."""
    template = yaml.load(PATH.read_text(), Loader)
    for section in ("Resources", "Outputs"):
        template[section] = unrolled(template[section])
    return template


def unrolled(section: dict) -> dict:
    """`${Pool}` stays in the names and in the values: it stands for each of the pools."""
    flat = {}
    for name, value in section.items():
        if name.startswith("Fn::ForEach::"):
            flat |= unrolled(value[2])
        else:
            flat[name] = value
    return flat


def of_type(template: dict, kind: str) -> dict[str, dict]:
    """The properties of all resources of that type, by name."""
    return {name: resource.get("Properties", {}) for name, resource in template["Resources"].items() if resource["Type"] == kind}
