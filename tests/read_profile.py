"""Reads a profile and prints, as JSON, the seconds of each function with all that it calls; "" is the whole.

    read_profile.py FORMAT FILE RATE

Names are without their places; recursion counts once, but in pictures, where each frame counts.
"""
import collections
import gzip
import json
import pstats
import re
import sys
import xml.etree.ElementTree

seconds = collections.defaultdict(float)


def name_of(label):
    return label.split(" (")[0]


def count(names, time):
    names = {name_of(name) for name in names if not re.match(r"(process|thread) [(0-9]", name)}
    if names:
        for name in names | {""}:
            seconds[name] += time


def raw(data, rate):
    for line in data.decode().splitlines():
        stack, number = line.rsplit(" ", 1)
        count(stack.split(";"), int(number) / rate)


def speedscope(data, rate):
    file = json.loads(data)
    frames = [frame["name"] for frame in file["shared"]["frames"]]
    for profile in file["profiles"]:
        assert abs(sum(profile["weights"]) - (profile["endValue"] - profile["startValue"])) < 0.01, profile["name"]
        for stack, weight in zip(profile["samples"], profile["weights"]):
            count([frames[frame] for frame in stack], weight)


def chrometrace(data, rate):
    threads = collections.defaultdict(lambda: [[], 0])
    for event in json.loads(data):
        thread = threads[event["pid"], event["tid"]]
        # Names, and marks that are no calls.
        if event["ph"] == "M" or event.get("cat") == "gc":
            continue
        assert event["ts"] >= thread[1], event
        count(thread[0], (event["ts"] - thread[1]) / 1e6)
        thread[1] = event["ts"]
        if event["ph"] == "B":
            thread[0].append(event["name"])
        else:
            assert thread[0].pop() == event["name"], event


def firefox(data, rate):
    for thread in json.loads(data)["threads"]:
        strings = thread["stringArray"]
        table = thread["stackTable"]
        for stack, weight in zip(thread["samples"]["stack"], thread["samples"]["weight"]):
            names = []
            while stack is not None:
                function = thread["frameTable"]["func"][table["frame"][stack]]
                names.append(strings[thread["funcTable"]["name"][function]])
                stack = table["prefix"][stack]
            count(names, weight / 1e3)


def flamegraph(data, rate):
    for group, title in frames(data):
        milliseconds = re.match(r".* \(([0-9.,]+) ms, [0-9.]+%(; own [^()]*)?\)$", title).group(1)
        shown, drawn = float(milliseconds.replace(",", "")) / 1e3, float(group.get("data-w")) / 1e6
        assert abs(shown - drawn) < 0.001, (title, drawn)
        name = name_of(title)
        seconds["" if name == "all" else name] += drawn


def flamechart(data, rate):
    for group, title in frames(data):
        seconds[name_of(title)] += float(group.get("data-w")) / 1e6


def frames(data):
    """The frames of a picture, each with its hover text."""
    space = "{http://www.w3.org/2000/svg}"
    for group in xml.etree.ElementTree.fromstring(data).iter(space + "g"):
        if group.get("class") == "frame":
            yield group, group.find(space + "title").text


def varints(data):
    """The fields of a protobuf message: (number, value)."""
    at = 0

    def varint():
        nonlocal at
        number = shift = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            assert key & 7 == 2, key
            length = varint()
            yield key >> 3, data[at:at + length]
            at += length


def packed(value):
    """Numbers of a repeated field."""
    if isinstance(value, int):
        return [value]
    numbers, number, shift = [], 0, 0
    for byte in value:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(number)
            number = shift = 0
    return numbers


def otlp(data, rate):
    """By OpenTelemetry's own messages, which PYTHONPATH must lead to; what a collector would refuse is none."""
    from google.protobuf import json_format
    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import ExportProfilesServiceRequest

    if data.startswith(b"{"):
        assert data.count(b"\n") == 1, "a collector reads one request a line"
        message = json_format.Parse(data, ExportProfilesServiceRequest())
    else:
        message = ExportProfilesServiceRequest.FromString(data)
    tables = message.dictionary
    strings = tables.string_table
    for table in ("mapping", "location", "function", "link", "attribute", "stack"):
        first = getattr(tables, table + "_table")[0]
        assert first == type(first)(), first
    assert strings[0] == "" and len(set(strings)) == len(strings), "texts are there once"
    for resource in message.resource_profiles:
        about = {attribute.key: attribute.value for attribute in resource.resource.attributes}
        assert about["process.pid"].int_value > 0 and about["service.name"].string_value, about
        assert about["process.runtime.version"].string_value.count(".") >= 2, about
        (scope,) = resource.scope_profiles
        kinds = [(strings[each.sample_type.type_strindex], strings[each.sample_type.unit_strindex])
                 for each in scope.profiles]
        assert kinds == [("cpu", "nanoseconds"), ("samples", "count")], kinds
        of_time, of_samples = scope.profiles
        assert of_time.period == round(1e9 / rate) and of_time.duration_nano > 0 and of_time.time_unix_nano > 1e18
        assert sum(sum(sample.values) for sample in of_samples.samples) > 0
        for sample in of_time.samples:
            (time,) = sample.values
            keys = [strings[tables.attribute_table[at].key_strindex] for at in sample.attribute_indices]
            assert keys == ["thread.id", "thread.name"], keys
            names = []
            for place in tables.stack_table[sample.stack_index].location_indices:
                (line,) = tables.location_table[place].lines
                names.append(strings[tables.function_table[line.function_index].name_strindex])
            count(names, time / 1e9)


def pprof(data, rate):
    strings, functions, locations, samples, types = [], {}, {}, [], []
    for field, value in varints(data):
        if field == 1:
            types.append(dict(varints(value)))
        elif field == 2:
            sample = collections.defaultdict(list)
            for inner, number in varints(value):
                if inner in (1, 2):
                    sample[inner] += packed(number)
            samples.append(sample)
        elif field == 4:
            lines = [dict(varints(line)) for inner, line in varints(value) if inner == 4]
            ids = [number for inner, number in varints(value) if inner == 1]
            locations[ids[0]] = lines[0][1]
        elif field == 5:
            function = dict(varints(value))
            functions[function[1]] = function[2]
        elif field == 6:
            strings.append(value.decode())
    units = [strings[kind[2]] for kind in types]
    column = units.index("nanoseconds")
    for sample in samples:
        count([strings[functions[locations[place]]] for place in sample[1]], sample[2][column] / 1e9)


def pstats_file(path):
    stats = pstats.Stats(path)
    seconds[""] = stats.total_tt
    for (_, _, name), (_, _, _, cumulative, _) in stats.stats.items():
        seconds[name] += cumulative


def main():
    form, path, rate = sys.argv[1], sys.argv[2], float(sys.argv[3])
    if form == "pstats":
        pstats_file(path)
    else:
        with open(path, "rb") as file:
            data = file.read()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        globals()[form](data, rate)
    print(json.dumps(seconds))


main()
