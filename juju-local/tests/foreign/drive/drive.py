"""Drives juju through jubilant, the library that charms' own integration tests stand on."""

import pathlib
import sys
import tempfile

import jubilant

program, model, web, watcher = sys.argv[1:]
juju = jubilant.Juju(cli_binary=program, wait_timeout=120)
assert juju.version().major == 3

juju.add_model(model, config={"update-status-hook-interval": "10m", "automatically-retry-hooks": False})
settings = juju.model_config()
assert settings["automatically-retry-hooks"] is False, settings
assert settings["update-status-hook-interval"] == "10m", settings
juju.model_config({"update-status-hook-interval": "20m"})
juju.model_config(reset="update-status-hook-interval")
shown = juju.show_model()
assert (shown.short_name, shown.model_type, shown.life) == (model, "iaas", "alive"), shown
assert "arch" in juju.model_constraints()

juju.deploy(web, "web", num_units=2, config={"text": "first"})
status = juju.wait(lambda status: jubilant.all_active(status) and jubilant.all_agents_idle(status))
machine = status.machines["0"]
assert machine.network_interfaces["host0"].mac_address.count(":") == 5, machine
assert set(status.apps["web"].units) == {"web/0", "web/1"}, status
juju.deploy(watcher, "watcher")
juju.integrate("web:juju-info", "watcher:host")
status = juju.wait(jubilant.all_active)
assert status.apps["watcher"].subordinate_to == ["web"], status.apps["watcher"]
assert str(status)

assert juju.config("web")["text"] == "first"
assert juju.config("web", app_config=True)["trust"] is False
juju.config("web", {"text": "second"})
assert juju.config("web")["text"] == "second"
juju.config("web", reset="text")
assert juju.config("web")["text"] == "hello"
juju.trust("web")
assert juju.config("web", app_config=True)["trust"] is True

task = juju.run("web/0", "fetch")
assert task.success and "page" in task.results, task
task = juju.exec("echo out; echo err >&2", unit="web/1")
assert (task.return_code, task.stdout, task.stderr) == (0, "out\n", "err\n"), task
assert juju.exec("hostname", machine=0).success
try:
    juju.exec("exit 3", unit="web/0", wait=30)
    raise AssertionError("a failed command is an error")
except jubilant.TaskError as failed:
    assert failed.task.return_code == 3, failed.task

secret = juju.add_secret("pin", {"number": "1234"}, info="of a card")
juju.grant_secret("pin", "web")
juju.update_secret(secret, {"number": "5678"})
assert juju.show_secret(secret, reveal=True).content == {"number": "5678"}
assert [one.name for one in juju.secrets()] == ["pin"]
juju.remove_secret(secret)

with tempfile.TemporaryDirectory() as folder:
    there = pathlib.Path(folder, "there")
    there.write_text("carried")
    juju.scp(there, "web/0:/tmp/carried")
    juju.scp("web/0:/tmp/carried", there.with_name("back"))
    assert there.with_name("back").read_text() == "carried"
assert juju.ssh("web/0", "cat", "/tmp/carried") == "carried"

juju.refresh("web", path=web)
juju.add_unit("web")
juju.wait(lambda status: len(status.apps["web"].units) == 3 and jubilant.all_active(status))
juju.remove_unit("web/1")
juju.wait(lambda status: len(status.apps["web"].units) == 2)
assert juju.show_unit("web/0").machine == "0"
assert "unit-web-0" in juju.debug_log(limit=1000)
juju.remove_relation("web:juju-info", "watcher:host")
juju.remove_application("web", "watcher", destroy_storage=True)
juju.wait(lambda status: not status.apps)
juju.destroy_model(model, destroy_storage=True, force=True)
