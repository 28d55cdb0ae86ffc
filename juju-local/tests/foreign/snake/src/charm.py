"""A charm on ops: credentials given and taken, by secrets of the application and of each unit."""

import json
import os
import pathlib
import subprocess

import ops

KNOWN = pathlib.Path("/var/lib/snake.json")


class NoticeEvent(ops.EventBase):
    """Something outside of Juju has happened."""


class Events(ops.CharmEvents):
    notice = ops.EventSource(NoticeEvent)


class Snake(ops.CharmBase):
    on = Events()

    def __init__(self, framework):
        super().__init__(framework)
        on = self.on
        for event in (on.start, on.config_changed, on.upgrade_charm, on.update_status):
            framework.observe(event, self._on_any)
        framework.observe(on.data_storage_attached, self._on_storage)
        framework.observe(on.give_relation_created, self._on_give)
        framework.observe(on.give_relation_joined, self._on_give)
        framework.observe(on.take_relation_changed, self._on_take)
        framework.observe(on.take_relation_broken, self._on_broken)
        framework.observe(on.secret_changed, self._on_secret_changed)
        framework.observe(on.secret_remove, self._on_secret_remove)
        framework.observe(on.notice, self._on_notice)
        framework.observe(on.rotate_action, self._on_rotate)
        framework.observe(on.report_action, self._on_report)
        framework.observe(on.notify_action, self._on_notify)
        framework.observe(on.fail_action, self._on_fail)

    def _know(self, **what):
        known = json.loads(KNOWN.read_text()) if KNOWN.exists() else {}
        known.update(what)
        KNOWN.write_text(json.dumps(known))
        return known

    def _on_any(self, _):
        self.unit.status = ops.ActiveStatus(str(self.config["greeting"]))

    def _on_storage(self, event):
        (pathlib.Path(event.storage.location) / "file").write_text(event.storage.full_id)

    def _on_give(self, event):
        """The leader makes the application's secret, each unit its own; both for the other side."""
        if self.unit.is_leader() and not event.relation.data[self.app].get("secret"):
            secret = self.app.add_secret({"password": "first"}, label=f"app-{event.relation.id}")
            secret.grant(event.relation)
            event.relation.data[self.app]["secret"] = secret.id
        if not event.relation.data[self.unit].get("secret"):
            secret = self.unit.add_secret({"key": f"of-{self.unit.name}"}, label=f"unit-{event.relation.id}")
            secret.grant(event.relation)
            event.relation.data[self.unit]["secret"] = secret.id

    def _on_take(self, event):
        if uri := event.relation.data[event.app].get("secret"):
            secret = self.model.get_secret(id=uri, label="password")
            self._know(password=secret.get_content()["password"])
        for unit in event.relation.units:
            if uri := event.relation.data[unit].get("secret"):
                self._know(**{unit.name: self.model.get_secret(id=uri).get_content()["key"]})

    def _on_broken(self, _):
        KNOWN.unlink(missing_ok=True)

    def _on_secret_changed(self, event):
        before = event.secret.get_content()["password"]
        after = event.secret.get_content(refresh=True)["password"]
        self._know(password=after, before=before)
        self.unit.status = ops.ActiveStatus(f"told by {event.secret.label}")

    def _on_secret_remove(self, event):
        event.secret.remove_revision(event.revision)
        self._know(removed=event.revision)

    def _on_notice(self, _):
        leader = self.unit.is_leader()
        for relation in self.model.relations["cluster"]:
            relation.data[self.unit]["noticed"] = str(leader)
        self.unit.status = ops.ActiveStatus("noticed")

    def _on_rotate(self, event):
        for relation in self.model.relations["give"]:
            self.model.get_secret(label=f"app-{relation.id}").set_content({"password": event.params["password"]})
        event.set_results({"relations": len(self.model.relations["give"])})

    def _on_report(self, event):
        results = {key.replace("/", "-"): str(value) for key, value in self._know().items()}
        results["file"] = pathlib.Path("/srv/data/file").read_text()
        event.set_results(results)

    def _on_fail(self, event):
        event.fail("as asked")

    def _on_notify(self, event):
        # The process outlives this action, and must not have its context.
        command = f'sleep 0.5; juju-exec -u {self.unit.name} "JUJU_DISPATCH_PATH=hooks/notice ./dispatch"'
        env = {key: value for key, value in os.environ.items() if key != "JUJU_CONTEXT_ID"}
        null = subprocess.DEVNULL
        subprocess.Popen(
            ["sh", "-c", command], env=env, stdin=null, stdout=null, stderr=null, start_new_session=True
        )
        event.log("somebody will tell")


if __name__ == "__main__":
    ops.main(Snake)
