"""What compose files, Dockerfiles, entry points and manifests promise, read and run without containers (run.sh does the rest).

FINCH names the program in its build folder, FINCH_SOURCE the checkout (ctest sets both).
"""
import glob
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import unittest

import kubernetes_validate
import yaml

SOURCE = os.environ.get("FINCH_SOURCE", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PROGRAM = os.environ.get("FINCH", os.path.join(SOURCE, "build", "finch"))
DEVELOPMENT = {"FINCH_SERVE_OPEN_TO_NETWORK", "FINCH_SERVE_CORS_ORIGIN", "FINCH_SERVE_KEEP_PREDICTIONS"}


def read(*names):
    with open(os.path.join(SOURCE, *names), encoding="utf-8") as file:
        return file.read()


def settings():
    done = subprocess.run([PROGRAM, "serve", "--print-config"], capture_output=True, text=True, timeout=60, check=True)
    return {"FINCH_SERVE_" + name.upper().replace("-", "_") for name in json.loads(done.stdout)}


class Compose(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = read("compose.yaml")
        cls.all = yaml.safe_load(cls.text)
        cls.services = cls.all["services"]
        cls.development = yaml.safe_load(read("compose.dev.yaml"))["services"]

    def test_the_backend_is_asked_as_agreed(self):
        self.assertEqual(self.services["backend"]["healthcheck"],
                         {"test": ["CMD", "curl", "-f", "http://localhost:8000/health"], "interval": "30s", "timeout": "10s", "retries": 3})

    def test_each_service_is_hardened_limited_and_watched(self):
        for name, service in self.services.items():
            with self.subTest(name):
                self.assertIs(service["read_only"], True)
                self.assertEqual(service["cap_drop"], ["ALL"])
                self.assertNotIn("cap_add", service)
                self.assertNotIn("privileged", service)
                self.assertIn("no-new-privileges:true", service["security_opt"])
                self.assertEqual(service["restart"], "unless-stopped")
                self.assertEqual(set(service["logging"]["options"]), {"max-size", "max-file"})
                self.assertTrue(all(service[limit] for limit in ("mem_limit", "cpus", "pids_limit")))
                self.assertIn("interval", service["healthcheck"])
                self.assertNotIn(":latest", service["image"])

    def test_the_store_is_on_no_network_of_the_frontend(self):
        networks = {name: set(service["networks"]) for name, service in self.services.items()}
        self.assertEqual(networks["frontend"], {"frontend"})
        self.assertEqual(networks["postgres"], {"data"})
        self.assertEqual(networks["backend"], {"frontend", "backend", "data"})
        self.assertEqual({name for name in networks if "data" in networks[name]}, {"backend", "backend-gpu", "postgres"})
        self.assertIs(self.all["networks"]["data"]["internal"], True)
        self.assertNotIn("ports", self.services["postgres"])

    def test_ports_are_on_the_loopback_address_unless_told(self):
        for name, service in self.services.items():
            for port in service.get("ports", []):
                self.assertRegex(port, r"^(127\.0\.0\.1|\$\{FINCH_BIND:-127\.0\.0\.1\}):", name)

    def test_the_gpu_is_the_profiles_alone(self):
        backend, gpu = self.services["backend"], self.services["backend-gpu"]
        self.assertEqual(gpu["profiles"], ["gpu"])
        self.assertEqual(gpu["deploy"], {"resources": {"reservations": {"devices": [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]}}})
        self.assertEqual([name for name, service in self.services.items() if "deploy" in service or "devices" in service], ["backend-gpu"])
        self.assertEqual({name for name in backend.keys() | gpu.keys() if backend.get(name) != gpu.get(name)},
                         {"profiles", "image", "build", "networks", "ports", "deploy", "depends_on"})
        self.assertEqual(gpu["build"], {**backend["build"], "target": "run-gpu"})

    def test_every_profile_is_taken_down_and_offered(self):
        profiles = {profile for service in self.services.values() for profile in service.get("profiles", [])}
        self.assertEqual(set(re.findall(r"--profile (\S+)", re.search(r"(?m)^PROFILES := (.*)$", read("Makefile")).group(1))), profiles)
        offered = re.search(r"(?m)^# Optional services, with commas between: (.*)\.$", read(".env.example")).group(1)
        self.assertEqual(set(offered.split(", ")), profiles)

    def test_the_order_of_start_is_by_health(self):
        waits = {name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()} for name, service in self.services.items()}
        self.assertEqual(waits["frontend"], {"backend": "service_healthy"})
        self.assertEqual(waits["backend"], {"postgres": "service_healthy"})
        self.assertIs(self.services["backend"]["depends_on"]["postgres"]["required"], False)
        self.assertEqual(waits["prometheus"], {"backend": "service_healthy"})
        self.assertEqual(waits["backend-gpu"], {"backend": "service_healthy"})

    def test_secrets_are_files_and_nothing_else(self):
        for name, secret in self.all["secrets"].items():
            self.assertTrue(secret["file"].startswith("./secrets/"), name)
        for name, service in self.services.items():
            for secret in service.get("secrets", []):
                self.assertIn(secret, self.all["secrets"])
            for variable, value in service.get("environment", {}).items():
                if re.search("PASSWORD|TOKEN|SECRET|STATE", variable) and variable != "GF_AUTH_ANONYMOUS_ENABLED":
                    self.assertTrue(str(value).startswith("/run/secrets/"), f"{name}: {variable}")

    def test_development_is_not_in_production(self):
        for name, service in self.services.items():
            self.assertFalse(DEVELOPMENT & set(service.get("environment", {})), name)
        self.assertLessEqual({"FINCH_SERVE_OPEN_TO_NETWORK", "FINCH_SERVE_CORS_ORIGIN"}, set(self.development["backend"]["environment"]))
        self.assertEqual({name: self.services[name]["build"]["target"] for name in ("backend", "frontend")}, {"backend": "run", "frontend": "run"})
        self.assertEqual({service["build"]["target"] for service in self.development.values()}, {"dev"})
        # Production's volume is not development's.
        self.assertIn("dev-state:/var/lib/finch", self.development["backend"]["volumes"])

    def test_every_variable_is_explained_with_its_preset(self):
        lines = read(".env.example").splitlines()
        explained = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        used = {}
        for text in (self.text, read("compose.dev.yaml")):
            for name, preset in re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text):
                self.assertEqual(used.setdefault(name, preset), preset, f"{name} has two presets")
        self.assertNotRegex(self.text, r"\$\{[A-Z_]+\}")
        for made in ("FINCH_VERSION", "FINCH_REVISION", "FINCH_CREATED"):
            used.pop(made)
        self.assertEqual(explained, {**used, "COMPOSE_PROFILES": ""})
        for i, line in enumerate(lines):
            if "=" in line and not line.startswith("#"):
                self.assertTrue(any(before.startswith("# ") for before in lines[max(0, i - 4):i]), f".env.example: {line} is not explained")

    def test_what_is_mounted_is_there(self):
        for name, service in self.services.items():
            for volume in service.get("volumes", []):
                place = volume.split(":")[0]
                if place.startswith("."):
                    self.assertTrue(os.path.exists(os.path.join(SOURCE, place)), f"{name}: {place}")
                else:
                    self.assertIn(place, self.all["volumes"])

    def test_settings_are_ones_that_finch_has(self):
        known = settings()
        manifests = "".join(read(os.path.relpath(path, SOURCE)) for path in glob.glob(os.path.join(SOURCE, "deploy", "k8s", "*.yaml")))
        for text in (self.text, read("compose.dev.yaml"), read("deploy", "backend", "Dockerfile"), read("deploy", "backend", "entrypoint.sh"), manifests):
            for name in set(re.findall(r"\bFINCH_SERVE_[A-Z_]+\b", text)):
                self.assertIn(re.sub("_FILE$", "", name), known)


class Images(unittest.TestCase):
    FILES = {name: os.path.join("deploy", name, "Dockerfile") for name in ("backend", "frontend", "devtools")}

    def test_bases_are_pinned(self):
        for path in self.FILES.values():
            text = read(path)
            presets = dict(re.findall(r"(?m)^ARG ([A-Z]+)=(\S+)$", text.split("\nFROM ")[0]))
            stages = set(re.findall(r"(?m)^FROM \S+ AS (\S+)$", text))
            self.assertTrue(presets)
            for name, image in presets.items():
                self.assertRegex(image, r":(bookworm-\d{8}-slim|\d+\.\d+\.\d+-bookworm-slim)$", f"{path}: {name}")
            for base in re.findall(r"(?m)^FROM (\S+)", text):
                self.assertTrue(base in stages or base.strip("${}") in presets, f"{path}: FROM {base}")
        self.assertEqual(len({re.search(r"ARG DEBIAN=(\S+)", read(path)).group(1) for path in self.FILES.values()}), 1)

    def test_the_toolchain_is_one_layer(self):
        """An engine takes a layer that it has where base and command are the same."""
        toolchain = re.search(r"(?m)^FROM \$\{DEBIAN\} AS toolchain\n(?:#.*\n)*(RUN (?:.*\\\n)*.*\n)", read(self.FILES["backend"])).group(1)
        self.assertIn("libdnnl-dev", toolchain)
        self.assertRegex(read(self.FILES["devtools"]), r"(?m)^FROM \$\{DEBIAN\}\n(?:#.*\n)*" + re.escape(toolchain))

    def test_what_runs_is_not_root_and_says_what_it_is(self):
        for path in self.FILES.values():
            stages = read(path).split("\nFROM ")
            last = next((stage for stage in stages if re.match(r"\S+ AS run\n", stage)), stages[-1])
            self.assertRegex(last, r"(?m)^USER [1-9]\d+:[1-9]\d+$")
            self.assertIn("HEALTHCHECK", last)
            self.assertIn("sbom.cdx.json", last)
            for label in ("title", "description", "licenses", "version", "revision"):
                self.assertIn(f"org.opencontainers.image.{label}=", last)
        self.assertIn("HEALTHCHECK --interval=30s --timeout=10s --retries=3 CMD curl -f http://localhost:8000/health\n", read(self.FILES["backend"]))

    def test_the_image_with_the_gpus_module_is_the_other_with_it(self):
        stage = re.search(r"(?ms)^FROM run AS run-gpu\n(.*?)(?=^FROM |\Z)", read(self.FILES["backend"])).group(1)
        self.assertEqual(re.findall(r"(?m)^USER (\S+)$", stage)[-1], "10001:10001")
        self.assertEqual(re.findall(r"(?m)^COPY (.+)$", stage), ["--from=build-gpu /out /"])
        self.assertIn("sbom.cdx.json", stage)
        self.assertNotRegex(stage, "(?m)^(ENTRYPOINT|CMD|HEALTHCHECK|ENV|VOLUME)")

    def test_what_is_copied_is_there_and_in_the_context(self):
        ignored = read(".dockerignore").splitlines()
        self.assertIn("*", ignored)
        self.assertIn("**/secrets", ignored)
        self.assertIn("**/.env*", ignored)
        allowed = [line[1:] for line in ignored if line.startswith("!")]
        for path in self.FILES.values():
            for words in re.findall(r"(?m)^COPY (?!--from)(.+)$", read(path)):
                for place in words.split()[:-1]:
                    self.assertTrue(os.path.exists(os.path.join(SOURCE, place)), f"{path}: {place}")
                    self.assertTrue(any(place == a or place.startswith(a + "/") for a in allowed), f"{path}: {place} is not in the context")

    def test_the_policy_of_the_pages_is_the_servers(self):
        source = re.search(r'page_policy\[\] =\s*((?:"[^"]*"\s*)+);', read("src", "serve", "http.c"))
        policy = "".join(re.findall(r'"([^"]*)"', source.group(1)))
        self.assertIn("script-src 'self'", policy)
        self.assertIn(f'add_header Content-Security-Policy "{policy}" always;', read("deploy", "frontend", "headers.conf"))
        # A location with headers of its own does not inherit: each that hands out files includes them.
        locations = re.findall(r"location [^{]*\{[^}]*\}", read("deploy", "frontend", "nginx.conf"))
        self.assertGreater(len(locations), 3)
        for location in locations:
            self.assertEqual("try_files" in location, "include /etc/finch/headers.conf;" in location and "Cache-Control" in location, location)

    def test_the_bill_of_materials(self):
        if not shutil.which("dpkg-query"):
            self.skipTest("no dpkg-query here: it is run in the images")
        done = subprocess.run(["sh", os.path.join(SOURCE, "deploy", "sbom.sh"), "finch", "1.2.3", "-"], input="npm/@a/b 1.0\ngeneric/duckdb 1.4.4\n",
                              capture_output=True, text=True, timeout=60, check=True)
        bill = json.loads(done.stdout)
        self.assertEqual((bill["bomFormat"], bill["metadata"]["component"]["version"]), ("CycloneDX", "1.2.3"))
        found = {part["name"]: part["purl"] for part in bill["components"]}
        self.assertEqual((found["@a/b"], found["duckdb"]), ("pkg:npm/%40a/b@1.0", "pkg:generic/duckdb@1.4.4"))
        self.assertRegex(found["libc6"], r"^pkg:deb/debian/libc6@[^:+]+\?arch=\w+$")


class Scripts(unittest.TestCase):
    """Entry points and helpers, run with stand-ins for what they call."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="finch-static-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.stand_in("id", "echo 10001")
        self.stand_in("finch", 'echo "finch $*"')
        self.stand_in("curl", "exit 7")

    def stand_in(self, name, body):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\n{body}\n")
        os.chmod(path, 0o755)

    def start(self, *words, **variables):
        environment = {"PATH": f"{self.folder}:/usr/bin:/bin", "FINCH_SERVE_REQUIRE_KEYS": "yes", "FINCH_WATCHDOG_SECONDS": "0", **variables}
        return subprocess.Popen(["sh", os.path.join(SOURCE, "deploy", "backend", "entrypoint.sh"), *words], env=environment,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    # Settings are finch's own to read; the rest of it is a stand-in.
    FINCH_READS_SETTINGS = f'case "$*" in *--print-config*) exec {PROGRAM} "$@" ;; esac\n'

    def test_production_refuses_what_is_for_development(self):
        self.stand_in("finch", self.FINCH_READS_SETTINGS + 'echo "finch $*"')
        file = os.path.join(self.folder, "settings.json")
        with open(file, "w", encoding="utf-8") as out:
            json.dump({"cors-origin": ["https://[2001:db8::1]", "*"]}, out)
        origin = os.path.join(self.folder, "origin")
        with open(origin, "w", encoding="utf-8") as out:
            out.write("http://localhost:3000\n")
        for variables, setting in (({"FINCH_SERVE_OPEN_TO_NETWORK": "yes"}, "open-to-network"), ({"FINCH_SERVE_REQUIRE_KEYS": "no"}, "no require-keys"),
                                   ({"FINCH_SERVE_CORS_ORIGIN": "*"}, "cors-origin"), ({"FINCH_SERVE_CORS_ORIGIN": "https://a.example,*"}, "cors-origin"),
                                   ({"FINCH_SERVE_CORS_ORIGIN": "http://localhost:3000"}, "cors-origin"), ({"FINCH_SERVE_CORS_ORIGIN_FILE": origin}, "cors-origin"),
                                   ({"FINCH_SERVE_CORS_ORIGIN": "http://[::1]:3000"}, "cors-origin"), ({"FINCH_SERVE_CONFIG": file}, "cors-origin")):
            server = self.start("serve", **variables)
            out, err = server.communicate(timeout=20)
            self.assertEqual((server.returncode, out), (2, ""), variables)
            self.assertIn("refused in a production container: " + setting, err)
        for words, setting in ((["--open-to-network"], "open-to-network"), (["--cors-origin", "*"], "cors-origin"), (["--no-require-keys"], "no require-keys"),
                               (["--config", file], "cors-origin")):
            server = self.start("serve", *words)
            self.assertIn("refused in a production container: " + setting, server.communicate(timeout=20)[1])
            self.assertEqual(server.returncode, 2)
        # What finch can not read is its own to say.
        server = self.start("serve", "--config", file + "-away")
        self.assertIn(file + "-away", server.communicate(timeout=20)[1])
        self.assertNotEqual(server.returncode, 0)
        self.stand_in("id", "echo 0")
        server = self.start("serve")
        self.assertIn("running as root", server.communicate(timeout=20)[1])
        self.assertEqual(server.returncode, 2)

    def test_production_runs_the_rest(self):
        self.stand_in("finch", self.FINCH_READS_SETTINGS + 'echo "finch $*"')
        for words in (["serve", "--threads", "2"], ["keys", "list"]):
            server = self.start(*words, FINCH_SERVE_CORS_ORIGIN="https://a.example")
            self.assertEqual((server.communicate(timeout=20)[0], server.returncode), ("finch " + " ".join(words) + "\n", 0))

    def test_the_dev_tools_take_the_token_without_its_line_end(self):
        self.stand_in("finch-build", "")
        self.stand_in("jupyter", 'printf "%s|%s|%s" "$JUPYTER_TOKEN" "${JUPYTER_TOKEN_FILE-}" "$*"')
        secret = os.path.join(self.folder, "token")
        environment = {"PATH": f"{self.folder}:/usr/bin:/bin", "HOME": self.folder, "JUPYTER_TOKEN_FILE": secret}
        for text, wanted in (("a-token\n", 0), ("", 1), ("\n", 1)):
            with open(secret, "w", encoding="utf-8") as file:
                file.write(text)
            done = subprocess.run(["sh", os.path.join(SOURCE, "deploy", "devtools", "start.sh")], env=environment, capture_output=True, text=True, timeout=20)
            self.assertEqual(done.returncode, wanted, done.stderr)
            self.assertEqual(done.stdout.startswith("a-token||lab "), wanted == 0, done.stdout)
            self.assertEqual("would be open to all" in done.stderr, wanted == 1)

    def test_a_source_map_ends_the_build_of_the_pages(self):
        line, = re.findall(r"if find out .*?; fi$", read("deploy", "frontend", "Dockerfile"), re.M)
        os.makedirs(os.path.join(self.folder, "out", "_next"))
        self.assertEqual(subprocess.run(["sh", "-c", line], cwd=self.folder, capture_output=True, check=False).returncode, 0)
        with open(os.path.join(self.folder, "out", "_next", "page.js.map"), "w", encoding="utf-8"):
            pass
        done = subprocess.run(["sh", "-c", line], cwd=self.folder, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("source maps are for development only", done.stderr)

    def test_a_signal_reaches_the_server_and_its_status_comes_back(self):
        self.stand_in("finch", self.FINCH_READS_SETTINGS + 'trap "sleep 0.3; exit 7" TERM\necho up\nwhile :; do sleep 0.1; done')
        server = self.start("serve")
        self.assertEqual(server.stdout.readline(), "up\n")
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=20)
        self.assertEqual(server.returncode, 7)

    def test_the_watchdog_ends_what_does_not_answer_and_nothing_else(self):
        self.stand_in("finch", self.FINCH_READS_SETTINGS + "exec sleep 60")
        begin = time.monotonic()
        server = self.start("serve", FINCH_WATCHDOG_SECONDS="0.1")
        self.assertIn("no answer 4 times in a row", server.communicate(timeout=20)[1])
        self.assertEqual(server.returncode, 128 + signal.SIGKILL)
        self.assertLess(time.monotonic() - begin, 15)
        # Answers in between count anew: three misses, an answer, and so on.
        self.stand_in("curl", f'n=$(cat {self.folder}/n 2>/dev/null || echo 0); echo $((n + 1)) >{self.folder}/n; [ $((n % 4)) -eq 3 ]')
        self.stand_in("finch", self.FINCH_READS_SETTINGS + f'while [ "$(cat {self.folder}/n 2>/dev/null || echo 0)" -lt 9 ]; do sleep 0.1; done')
        server = self.start("serve", FINCH_WATCHDOG_SECONDS="0.05")
        server.communicate(timeout=30)
        self.assertEqual(server.returncode, 0)

    def test_the_pages_server_is_told_of_names(self):
        script = read("deploy", "frontend", "entrypoint.sh").replace("/tmp/", f"{self.folder}/").replace("/etc/resolv.conf", f"{self.folder}/resolv")
        self.stand_in("nginx", f"cat {self.folder}/nginx.conf")
        script = script.replace("/etc/finch/", os.path.join(SOURCE, "deploy", "frontend") + "/")
        for server, backend, status, expected in (("10.89.0.1", "backend:8000", 0, "resolver 10.89.0.1 "), ("fd00::1", "backend:8000", 0, "resolver [fd00::1] "),
                                                  ("10.89.0.1", "a;b", 2, "is no HOST:PORT"), ("", "backend:8000", 1, "names no server")):
            with open(os.path.join(self.folder, "resolv"), "w", encoding="utf-8") as file:
                file.write(f"search x\nnameserver {server}\n" if server else "search x\n")
            done = subprocess.run(["sh", "-c", script], env={"PATH": f"{self.folder}:/usr/bin:/bin", "FINCH_BACKEND": backend}, capture_output=True, text=True, timeout=20)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(expected, done.stdout + done.stderr)
            self.assertNotRegex(done.stdout, "@[A-Z]+@")

    def test_secrets_are_made_once_and_for_one_reader(self):
        os.makedirs(os.path.join(self.folder, "deploy"))
        shutil.copy(os.path.join(SOURCE, "deploy", "secrets.sh"), os.path.join(self.folder, "deploy"))
        secrets = os.path.join(self.folder, "secrets")

        def made():
            subprocess.run(["bash", os.path.join(self.folder, "deploy", "secrets.sh")], check=True, timeout=20)
            found = {}
            for name in os.listdir(secrets):
                with open(os.path.join(secrets, name), encoding="utf-8") as file:
                    found[name] = file.read()
            return found
        first = made()
        self.assertEqual(first, made())
        self.assertEqual(stat.S_IMODE(os.stat(secrets).st_mode), 0o700)
        self.assertGreaterEqual(len(first["postgres_password"]), 32)
        self.assertIn(first["postgres_password"].strip(), first["finch_state_postgres"])
        self.assertNotEqual(first["postgres_password"], first["grafana_password"])
        wanted = {re.sub(r"\$\{[^}]*\}", "sqlite", secret["file"]).split("/")[-1] for secret in yaml.safe_load(read("compose.yaml"))["secrets"].values()}
        self.assertEqual(set(first), wanted | {"finch_state_postgres"})
        self.assertIn("/secrets/", read(".gitignore").splitlines())

    def test_without_an_engine_the_remedy_is_said(self):
        tools = os.path.join(self.folder, "tools")
        os.makedirs(tools)
        for tool in ("dirname", "timeout", "bash", "cat"):
            os.symlink(shutil.which(tool), os.path.join(tools, tool))
        done = subprocess.run([shutil.which("bash"), os.path.join(SOURCE, "deploy", "compose.sh"), "ps"], env={"PATH": tools}, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "neither Docker nor Podman is here.*apt-get install podman")

    def test_jupyter_is_for_this_machine_and_asks_for_its_token(self):
        for place in ("tools", "notebooks/.venv/bin"):
            os.makedirs(os.path.join(self.folder, place))
        shutil.copy(os.path.join(SOURCE, "tools", "notebooks.sh"), os.path.join(self.folder, "tools"))
        shutil.copy(os.path.join(SOURCE, "notebooks", "requirements.txt"), os.path.join(self.folder, "notebooks"))
        self.stand_in("uv", f'echo "$*" >>{self.folder}/uv-asked')
        self.stand_in("notebooks/.venv/bin/jupyter", 'printf "%s\\n" "$@"')
        done = subprocess.run(["bash", os.path.join(self.folder, "tools", "notebooks.sh"), "lab"], env={"PATH": f"{self.folder}:/usr/bin:/bin", "JUPYTER_PORT": "18888"},
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        words = done.stdout.split()
        self.assertEqual(words[0], "lab")
        self.assertLessEqual({"--ServerApp.ip=127.0.0.1", "--ServerApp.port=18888", "--ServerApp.port_retries=0"}, set(words))
        # JupyterLab makes a token unless it is told another; nothing here tells it.
        self.assertFalse([word for word in words if re.search("token|password|allow_origin|disable_check_xsrf", word)])
        with open(os.path.join(self.folder, "uv-asked"), encoding="utf-8") as file:
            self.assertIn("sync --quiet --frozen --project notebooks", file.read())

    def test_what_is_fetched_is_pinned_by_checksum(self):
        machines = dict(re.findall(r"(?m)^(\w+)\) package=\S+ sum=(\S*) ;;", read("tools", "deps.sh")))
        self.assertEqual(set(machines), {"x86_64", "aarch64"})
        for name, checksum in machines.items():
            self.assertRegex(checksum, "^[0-9a-f]{64}$", name)
        wheels = re.findall(r"(?m)^(\S+==\S+)(.*)$", read("tools", "cuda.sh"))
        self.assertIn("nvidia-cuda-runtime", [wheel.split("==")[0] for wheel, _ in wheels])
        for wheel, checksum in wheels:
            self.assertRegex(checksum, "^ --hash=sha256:[0-9a-f]{64}$", wheel)

    def test_the_targets_that_people_know(self):
        text = read("Makefile")
        shown = subprocess.run(["make", "-s", "-C", SOURCE, "help"], capture_output=True, text=True, timeout=60, check=True).stdout
        for target in "up down dev devtools jupyter logs ps build clean test test-backend test-frontend test-containers bench help package test-package".split():
            self.assertRegex(text, rf"(?m)^{target}:")
            self.assertRegex(shown, rf"(?m)^  make {target} ")
        for volumes, said in (("", "kept:"), ("1", "down --volumes")):
            plan = subprocess.run(["make", "-n", "-C", SOURCE, "clean", f"VOLUMES={volumes}"], capture_output=True, text=True, timeout=60, check=True).stdout
            self.assertIn(said, plan)
            self.assertEqual("down --volumes" in plan, volumes == "1")


class Monitoring(unittest.TestCase):
    def test_prometheus_asks_the_backend_with_its_key(self):
        config = yaml.safe_load(read("deploy", "monitoring", "prometheus.yml"))
        job, = config["scrape_configs"]
        self.assertEqual(job["static_configs"], [{"targets": ["backend:8000"]}])
        self.assertEqual(job["authorization"]["credentials_file"], "/run/secrets/metrics_key")
        # The alert FinchDown is about this job.
        self.assertIn(f'job="{job["job_name"]}"', read("deploy", "alerts.yml"))
        if shutil.which("promtool"):
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "prometheus.yml")
                with open(path, "w", encoding="utf-8") as file:
                    file.write(read("deploy", "monitoring", "prometheus.yml").replace("/etc/prometheus/alerts.yml", os.path.join(SOURCE, "deploy", "alerts.yml"))
                               .replace("/run/secrets/metrics_key", path))
                done = subprocess.run(["promtool", "check", "config", path], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_grafana_has_source_and_dashboard(self):
        source, = yaml.safe_load(read("deploy", "monitoring", "grafana", "datasources", "prometheus.yml"))["datasources"]
        self.assertEqual((source["type"], source["url"]), ("prometheus", "http://prometheus:9090"))
        provider, = yaml.safe_load(read("deploy", "monitoring", "grafana", "dashboards", "finch.yml"))["providers"]
        mounted = [volume.split(":")[1] for volume in yaml.safe_load(read("compose.yaml"))["services"]["grafana"]["volumes"]]
        self.assertIn(provider["options"]["path"] + "/finch.json", mounted)
        self.assertIn('"query": "prometheus"', read("deploy", "grafana-finch.json"))


class Kubernetes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.documents = []
        for path in sorted(glob.glob(os.path.join(SOURCE, "deploy", "k8s", "*.yaml"))):
            with open(path, encoding="utf-8") as file:
                cls.documents += [(os.path.basename(path), document) for document in yaml.safe_load_all(file)]
        cls.by_kind = {}
        for _, document in cls.documents:
            cls.by_kind.setdefault(document["kind"], []).append(document)

    def test_each_is_of_its_schema(self):
        """kubernetes-validate: the JSON schemas of Kubernetes' own OpenAPI document, unknown fields refused. A kustomization has none."""
        checked = 0
        for name, document in self.documents:
            if document["kind"] != "Kustomization":
                kubernetes_validate.validate(document, "1.31", strict=True)
                checked += 1
        self.assertGreaterEqual(checked, 13)
        broken = json.loads(json.dumps(self.by_kind["Deployment"][0]))
        broken["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(broken, "1.31", strict=True)

    def test_all_kinds_are_there_and_listed(self):
        self.assertLessEqual({"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "Secret", "PersistentVolumeClaim"},
                             set(self.by_kind))
        listed = self.by_kind["Kustomization"][0]["resources"]
        self.assertEqual(set(listed), {name for name, document in self.documents if document["kind"] != "Kustomization"})

    def test_the_pods(self):
        for deployment in self.by_kind["Deployment"]:
            pod = deployment["spec"]["template"]["spec"]
            container, = pod["containers"]
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            self.assertEqual(container["securityContext"], {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})
            self.assertLessEqual({"livenessProbe", "readinessProbe"}, set(container))
            self.assertLessEqual({"cpu", "memory"}, set(container["resources"]["limits"]))
            labels = deployment["spec"]["template"]["metadata"]["labels"]
            self.assertEqual(deployment["spec"]["selector"]["matchLabels"], labels)
            for kind in ("Service", "PodDisruptionBudget"):
                chosen = [d["spec"]["selector"].get("matchLabels", d["spec"]["selector"]) for d in self.by_kind[kind]]
                self.assertIn(labels, chosen, kind)
        backend = next(d for d in self.by_kind["Deployment"] if d["metadata"]["name"] == "finch-backend")["spec"]["template"]["spec"]
        container, = backend["containers"]
        self.assertEqual(container["livenessProbe"]["httpGet"]["path"], "/health")
        self.assertEqual(container["readinessProbe"]["httpGet"]["path"], "/ready")
        self.assertIn("USER 10001:10001", read("deploy", "backend", "Dockerfile"))
        self.assertEqual(backend["securityContext"]["runAsUser"], 10001)
        claims = {d["metadata"]["name"] for d in self.by_kind["PersistentVolumeClaim"]}
        secrets = {d["metadata"]["name"] for d in self.by_kind["Secret"]}
        for volume in backend["volumes"]:
            if "persistentVolumeClaim" in volume:
                self.assertIn(volume["persistentVolumeClaim"]["claimName"], claims)
            if "secret" in volume:
                self.assertIn(volume["secret"]["secretName"], secrets)

    def test_scaling_is_by_the_queue(self):
        scaler, = self.by_kind["HorizontalPodAutoscaler"]
        self.assertEqual(scaler["spec"]["metrics"][0]["pods"]["metric"]["name"], "finch_queue_texts")
        self.assertIn("finch_queue_texts", read("deploy", "grafana-finch.json"))
        self.assertIn(scaler["spec"]["scaleTargetRef"]["name"], [d["metadata"]["name"] for d in self.by_kind["Deployment"]])

    def test_the_network_is_closed_but_for_what_is_named(self):
        policies = {d["metadata"]["name"]: d["spec"] for d in self.by_kind["NetworkPolicy"]}
        self.assertEqual(policies["default-deny"], {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
        reached = {name: [port["port"] for rule in policies[name]["egress"] for port in rule["ports"]] for name in ("frontend", "backend")}
        self.assertEqual(reached, {"frontend": [8000], "backend": [5432]})


if __name__ == "__main__":
    unittest.main()
