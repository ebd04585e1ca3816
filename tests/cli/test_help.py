"""Every command says what it does and takes; the pages made from the tables hold what the tables hold."""
import os
import shutil
import subprocess
import unittest

from finch_cli import SOURCE, finch, finch_json

TABLES = finch_json("help")


class Help(unittest.TestCase):
    def test_the_program_alone_shows_every_command(self):
        done = finch()
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stdout, finch("--help").stdout)
        for command in TABLES["commands"]:
            self.assertRegex(done.stdout, rf"(?m)^  {command['name']} +\S")
        self.assertLess(len(done.stdout.splitlines()), 45)

    def test_version_is_the_headers(self):
        with open(os.path.join(SOURCE, "include", "finch.h")) as header:
            version = next(line.split('"')[1] for line in header if "define FINCH_VERSION" in line)
        self.assertEqual(finch("--version").stdout, f"finch {version}\n")

    def test_every_command_has_help_with_options_and_an_example(self):
        for command in TABLES["commands"]:
            with self.subTest(command=command["name"]):
                done = finch(command["name"], "--help")
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertIn(command["summary"], done.stdout)
                self.assertRegex(done.stdout, rf"(?s)\nExample\n  .*finch {command['name']}\b")
                for option in command["options"] + TABLES["common_options"]:
                    on = option["kind"] == "flag" and option["default"] == "yes"
                    self.assertIn(f"\n  --{'no-' if on else ''}{option['name']}", done.stdout)
                self.assertEqual(done.stdout, finch("help", command["name"]).stdout)
                self.assertFalse([line for line in done.stdout.splitlines() if len(line) > 140])

    def test_help_wins_over_wrong_words(self):
        self.assertEqual(finch("help", "--nonsense", "--help").returncode, 0)

    def test_tables_are_complete(self):
        names = [command["name"] for command in TABLES["commands"]]
        self.assertEqual(len(names), len(set(names)))
        for command in TABLES["commands"]:
            own = [option["name"] for option in command["options"]]
            common = [option["name"] for option in TABLES["common_options"]]
            self.assertEqual(len(own + common), len(set(own + common)), command["name"])
            for option in command["options"]:
                where = f"{command['name']} --{option['name']}"
                self.assertEqual(option["value"] is None, option["kind"] == "flag", where)
                self.assertFalse(option["help"].endswith("."), where)
                self.assertFalse(option["required"] and option["default"], where)
                if option["kind"] == "choice" and option["default"] is not None:
                    self.assertIn(option["default"], option["value"].split("|"), where)

    def test_a_command_that_does_not_exist_names_the_nearest(self):
        done = finch("hepl")
        self.assertEqual(done.returncode, 2)
        self.assertIn("did you mean finch help?", done.stderr)
        self.assertIn("no command", finch("xyzzyquux").stderr)

    def test_a_full_disk_is_a_failure(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "w") as full:
            done = subprocess.run([os.environ["FINCH"], "help"], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"No space left", done.stderr)

    def test_a_closed_pipe_is_a_failure_and_no_crash(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([os.environ["FINCH"], "help", "--json"], stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"closed its pipe", done.stderr)


class ManPages(unittest.TestCase):
    def page(self, *words):
        return finch("man", *words).stdout

    def test_pages_have_every_option(self):
        for command in TABLES["commands"]:
            text = self.page(command["name"]).replace("\\-", "-")
            self.assertTrue(text.startswith(f'.TH "FINCH-{command["name"]}"'))
            for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES"):
                self.assertIn(f"\n.SH {section}\n", text)
            for option in command["options"] + TABLES["common_options"]:
                self.assertRegex(text, rf"(?m)^\.B --(no-)?{option['name']}\b")
            self.assertIn(f"finch-{command['name']} (1)", self.page().replace("\\-", "-"))

    def test_no_text_is_taken_as_a_request(self):
        known = {".TH", ".SH", ".PP", ".TP", ".B", ".BR", ".nf", ".fi"}
        for command in [None] + TABLES["commands"]:
            for line in self.page(*([command["name"]] if command else [])).splitlines():
                if line.startswith((".", "'")):
                    self.assertIn(line.split(" ")[0], known)

    def test_man_reads_them_without_a_warning(self):
        if shutil.which("groff") is None:
            self.skipTest("groff is not installed")
        for command in TABLES["commands"]:
            done = subprocess.run(["groff", "-man", "-ww", "-Tascii", "-z"], input=self.page(command["name"]).encode(),
                                  capture_output=True)
            self.assertEqual((done.returncode, done.stderr), (0, b""), command["name"])

    def test_the_page_of_options_is_current(self):
        with open(os.path.join(SOURCE, "docs", "options.md")) as page:
            self.assertEqual(page.read(), finch("man", "--markdown").stdout,
                             "docs/options.md is old; make it again: finch man --markdown >docs/options.md")


if __name__ == "__main__":
    unittest.main()
