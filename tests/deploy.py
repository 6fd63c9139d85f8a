"""What deploy/ holds for other programs, as readers that are not ours understand it. Prints JSON.

    deploy.py yaml FILE...      each file as a value; a tag of CloudFormation, `!Ref X`, is {"Ref": "X"}
    deploy.py compose FILE ENV  the file with the variables of another one, if it is right by the Compose specification
    deploy.py promql            for expressions in a JSON list on standard input: the metrics and labels of each
"""

import json
import re
import sys


def files(paths):
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def tagged(loader, tag, node):
        value = {
            yaml.ScalarNode: lambda: loader.construct_scalar(node),
            yaml.SequenceNode: lambda: loader.construct_sequence(node, deep=True),
            yaml.MappingNode: lambda: loader.construct_mapping(node, deep=True),
        }[type(node)]()
        return {tag: value}

    Loader.add_multi_constructor("!", tagged)

    def read(path):
        with open(path) as text:
            return yaml.load(text, Loader)

    return [read(path) for path in paths]


def compose(path, environment):
    import yaml
    from compose_spec import PyCompose

    # A password that is left to choose is chosen.
    with open(environment) as lines:
        pairs = [line.strip().split("=", 1) for line in lines if re.match(r"[A-Z]", line)]
    variables = {name: value or "chosen" for name, value in pairs}

    def value(match):
        name, how, text = match.groups()
        if name in variables:
            return variables[name]
        if how != "-":
            sys.exit(f"{environment} has no {name}: {text}")
        return text

    with open(path) as text:
        text = re.sub(r"\$\{(\w+)(?::([-?])([^}]*))?\}", value, text.read())
    PyCompose.from_yaml(text)
    return yaml.safe_load(text)


def promql(expressions):
    import promql_parser as promql

    def selectors(node):
        if isinstance(node, promql.VectorSelector):
            yield node
        for part in ("expr", "lhs", "rhs", "vector_selector", "param"):
            inner = getattr(node, part, None)
            if inner is not None and not isinstance(inner, str):
                yield from selectors(inner)
        for inner in getattr(node, "args", None) or []:
            yield from selectors(inner)

    def labels(node):
        """Those by which it is aggregated or matched."""
        modifier = getattr(node, "modifier", None)
        found = set(getattr(modifier, "labels", None) or [])
        for selector in selectors(node):
            found |= {matcher.name for matcher in selector.matchers.matchers}
        for part in ("expr", "lhs", "rhs"):
            inner = getattr(node, part, None)
            if inner is not None:
                found |= labels(inner)
        return found

    def understood(expression):
        tree = promql.parse(expression)
        return {"metrics": sorted({it.name for it in selectors(tree)}), "labels": sorted(labels(tree))}

    return [understood(it) for it in expressions]


if __name__ == "__main__":
    what, *paths = sys.argv[1:]
    if what == "yaml":
        print(json.dumps(files(paths), default=str))
    elif what == "compose":
        print(json.dumps(compose(*paths)))
    else:
        print(json.dumps(promql(json.load(sys.stdin))))
