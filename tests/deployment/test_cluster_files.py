"""The cluster files by Ray's own reading of them, and against a mocked AWS. No cluster is started."""

import copy
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli as ray_commands

ROOT = Path(__file__).parents[2]
FILES = ["cluster.yaml", "docs/clusters/local.yaml"]
PLACEHOLDER = "sg-00000000000000000"


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return loaded


def pinned_ray() -> str:
    """The Ray release of pyproject.toml: 2.60 of ray[train,tune]==2.60.*"""
    found = [re.match(r"ray\[.*\]==([\d.]+)\.\*$", line) for line in requires("multinas-ray") or []]
    (version,) = [match[1] for match in found if match]
    return version


@pytest.mark.parametrize("name", FILES)
def test_ray_takes_the_file(name: str) -> None:
    config = prepare_config(copy.deepcopy(read(name)))
    validate_config(config)
    for field in ("cluster_name", "auth", "file_mounts", "head_start_ray_commands", "worker_start_ray_commands"):
        assert config[field], f"{name} leaves {field} to a default"


@pytest.mark.parametrize("name", FILES)
def test_every_field_is_explained(name: str) -> None:
    """Every paragraph starts with a comment."""
    paragraphs = (ROOT / name).read_text().split("\n\n")
    assert [part for part in paragraphs if not part.lstrip().startswith("#")] == []


@pytest.mark.parametrize("name", FILES)
def test_nobody_gets_in_without_the_token(name: str) -> None:
    config = read(name)
    assert any(remote.endswith("/.ray/auth_token") for remote in config["file_mounts"])
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    everywhere = "--env RAY_AUTH_MODE=token" in config.get("docker", {}).get("run_options", [])
    assert everywhere or all("RAY_AUTH_MODE=token" in each for each in commands if "ray start" in each)
    assert "--dashboard-host=127.0.0.1" in " ".join(config["head_start_ray_commands"])


def test_the_images_have_the_pinned_ray() -> None:
    docker = read("cluster.yaml")["docker"]
    for image in (docker["head_image"], docker["worker_image"]):
        assert re.match(rf"rayproject/ray:{re.escape(pinned_ray())}\.\d+-py3\d+(-gpu)?$", image), image


def test_the_workers_are_spot_machines_with_the_same_on_demand() -> None:
    types = read("cluster.yaml")["available_node_types"]
    spot, on_demand = (copy.deepcopy(types[name]) for name in ("gpu_spot", "gpu_on_demand"))
    assert spot.pop("priority") > on_demand.pop("priority")
    assert spot["node_config"].pop("InstanceMarketOptions") == {"MarketType": "spot"}
    assert spot == on_demand
    assert "InstanceMarketOptions" not in types["head"]["node_config"]
    assert all(each["min_workers"] == 0 for each in types.values())


def documented_commands() -> list[str]:
    """Lines of the README and of the cluster files' comments that begin with `ray`."""
    texts = [(ROOT / name).read_text() for name in ["README.md", *FILES]]
    return re.findall(r"^(?:#   )?(ray [a-z].*?)(?:  +.*| +#.*)?$", "\n".join(texts), re.MULTILINE)


@pytest.mark.parametrize("command", documented_commands())
def test_documented_commands_are_rays_own_and_name_files_and_flags_that_exist(command: str) -> None:
    _, verb, *words = shlex.split(command)
    own, script_flags = words, []
    if "--" in words:
        own, script_flags = words[: words.index("--")], words[words.index("--") + 1 :]
    options = {option for parameter in ray_commands.commands[verb].params for option in parameter.opts}
    assert {word for word in own if word.startswith("-")} <= options
    files = [word for word in own if word.endswith((".yaml", ".py"))]
    assert files or verb in ("start", "get-auth-token")
    flags = [word for word in script_flags if word.startswith("--") and word != "--help"]
    if flags:
        (script,) = [name for name in files if name.endswith(".py")]
        told = subprocess.run(
            [sys.executable, ROOT / script, "--help"], capture_output=True, text=True, check=True
        ).stdout
        for flag in flags:
            assert f"{flag} " in told, flag


def test_the_commands_of_the_cluster_files_are_found() -> None:
    commands = documented_commands()
    assert "ray down cluster.yaml" in commands
    assert "ray submit docs/clusters/local.yaml experiments/quickstart.py -- --help" in commands


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A mocked AWS account as the file's header prepares it; gives its security group."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray writes a key pair to ~/.ssh
    with mock_aws():
        iam = boto3.client("iam")
        iam.create_role(RoleName="multinas-ray", AssumeRolePolicyDocument="{}")
        iam.create_instance_profile(InstanceProfileName="multinas-ray")
        iam.add_role_to_instance_profile(InstanceProfileName="multinas-ray", RoleName="multinas-ray")
        ec2 = boto3.resource("ec2", region_name=read("cluster.yaml")["provider"]["region"])
        yield ec2.create_security_group(GroupName="multinas-ray", Description="nodes")


def bootstrapped(group_id: str) -> dict[str, Any]:
    """What `ray up` makes of cluster.yaml before it starts the head."""
    from ray.autoscaler._private.aws.config import bootstrap_aws

    text = (ROOT / "cluster.yaml").read_text()
    assert text.count(PLACEHOLDER) == 2
    config = prepare_config(yaml.safe_load(text.replace(PLACEHOLDER, group_id)))
    validated: dict[str, Any] = bootstrap_aws(config)
    return validated


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:moto", "ignore::DeprecationWarning:botocore")
def test_aws_takes_every_node_type(account: Any) -> None:
    """boto3 refuses unknown keys of node_config; the mock knows instance types and spot requests."""
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    config = bootstrapped(account.id)
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    images = {
        image["ImageId"] for image in boto3.client("ec2", config["provider"]["region"]).describe_images()["Images"]
    }
    for name, node_type in config["available_node_types"].items():
        node_config = copy.deepcopy(node_type["node_config"])
        assert node_config["ImageId"].startswith("resolve:ssm:/aws/service/deeplearning/ami/x86_64/")
        node_config["ImageId"] = sorted(images)[0]  # the mock resolves no parameters
        (node,) = provider.create_node(node_config, {"ray-node-name": name}, 1).values()
        assert node.instance_type == node_type["node_config"]["InstanceType"]
        assert (node.instance_lifecycle == "spot") == (name == "gpu_spot")
        assert [group["GroupId"] for group in node.security_groups] == [account.id]
    groups = list(boto3.resource("ec2", config["provider"]["region"]).security_groups.all())
    assert {group.group_name for group in groups} == {"default", "multinas-ray"}, "Ray made a group of its own"


@pytest.mark.slow
def test_the_file_as_it_comes_stops_before_anything_is_started(
    account: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - Ray's own, without a word: it has printed them
        bootstrapped(PLACEHOLDER)
    assert "Failed to detect a security group" in capsys.readouterr().err
    assert list(boto3.resource("ec2", read("cluster.yaml")["provider"]["region"]).instances.all()) == []
