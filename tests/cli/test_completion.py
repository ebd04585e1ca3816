"""Completion scripts are asked in their shells: what the tables hold must be offered. A shell that is absent is skipped."""
import os
import shutil
import subprocess
import tempfile
import unittest

from finch_cli import finch, finch_json

TABLES = finch_json("help")


def script(shell):
    done = finch("completion", shell)
    assert done.returncode == 0, done.stderr
    return done.stdout


def option_words(command):
    flags_on = {o["name"] for o in command["options"] if o["kind"] == "flag" and o["default"] == "yes"}
    return {f"--{'no-' if o['name'] in flags_on else ''}{o['name']}" for o in command["options"] + TABLES["common_options"]}


class Bash(unittest.TestCase):
    def complete(self, *words):
        """What bash offers for the last of the words."""
        # $0 is the program's name; COMP_WORDS is what readline would have cut ("=" is a word of its own).
        lines = script("bash") + '\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _finch; printf "%s\\n" "${COMPREPLY[@]}"\n'
        done = subprocess.run(["bash", "-u", "-c", lines, "finch", *words], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return set(done.stdout.split())

    def test_commands(self):
        self.assertEqual(self.complete("finch", ""), {c["name"] for c in TABLES["commands"]} | {"--help", "--version"})
        self.assertEqual(self.complete("finch", "comp"), {"completion"})

    def test_options_of_every_command(self):
        for command in TABLES["commands"]:
            self.assertEqual(self.complete("finch", command["name"], "--"), option_words(command), command["name"])

    def test_words_of_choices_in_both_forms(self):
        for command in TABLES["commands"]:
            for option in command["options"]:
                if option["kind"] == "choice":
                    want = set(option["value"].split("|"))
                    self.assertEqual(self.complete("finch", command["name"], f"--{option['name']}", ""), want)
                    self.assertEqual(self.complete("finch", command["name"], f"--{option['name']}", "=", ""), want)
                    self.assertEqual(self.complete("finch", command["name"], f"--{option['name']}", "="), want)

    def test_operands(self):
        self.assertEqual(self.complete("finch", "completion", ""), {"bash", "zsh", "fish"})
        self.assertEqual(self.complete("finch", "completion", "f"), {"fish"})
        self.assertIn("completion", self.complete("finch", "man", "c"))

    def test_values_are_left_to_bash_where_they_are_files(self):
        self.assertEqual(self.complete("finch", "help", "--threads", ""), set())


class Zsh(unittest.TestCase):
    def test_it_parses_and_lists_every_command(self):
        if shutil.which("zsh") is None:
            self.skipTest("zsh is not installed")
        with tempfile.NamedTemporaryFile("w", suffix=".zsh") as file:
            file.write(script("zsh"))
            file.flush()
            done = subprocess.run(["zsh", "-n", file.name], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            # _arguments is replaced by a function that shows what it was given.
            ask = (f"compdef() {{ :; }}; _arguments() {{ print -rl -- \"$@\"; }}; source {file.name}; "
                   "words=(finch $1 ''); CURRENT=3; _finch")
            for command in TABLES["commands"]:
                done = subprocess.run(["zsh", "-f", "-c", ask, "zsh", command["name"]], capture_output=True, text=True)
                self.assertEqual(done.stderr, "")
                offered = {line.lstrip("*").split("[")[0] for line in done.stdout.splitlines() if line.lstrip("*").startswith("--")}
                self.assertEqual(offered, option_words(command), command["name"])


class Fish(unittest.TestCase):
    def test_it_offers_commands_and_options(self):
        if shutil.which("fish") is None:
            self.skipTest("fish is not installed")
        with tempfile.TemporaryDirectory() as home:
            path = os.path.join(home, "finch.fish")
            with open(path, "w") as file:
                file.write(script("fish"))

            def complete(line):
                done = subprocess.run(["fish", "--no-config", "-c", f"source {path}; complete -C '{line}'"], capture_output=True,
                                      text=True, env={**os.environ, "HOME": home})
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                return {offer.split("\t")[0] for offer in done.stdout.splitlines()}

            self.assertTrue({c["name"] for c in TABLES["commands"]} <= complete("finch "))
            for command in TABLES["commands"]:
                self.assertTrue(option_words(command) <= complete(f"finch {command['name']} --"), command["name"])
            self.assertTrue({"bash", "zsh", "fish"} <= complete("finch completion "))


if __name__ == "__main__":
    unittest.main()
