"""How words become options: the same for every command, tried here on the small ones and on whatever the tables hold."""
import os
import unittest

from finch_cli import finch, finch_json

TABLES = finch_json("help")


def commands_with(kind):
    """(command, option) of every option of that kind, the command needing nothing else that is checked before."""
    return [(c, o) for c in TABLES["commands"] for o in c["options"] + TABLES["common_options"] if o["kind"] == kind]


class Options(unittest.TestCase):
    def refused(self, *words):
        done = finch(*words)
        self.assertEqual(done.returncode, 2, f"{words}: {done.stderr}")
        self.assertEqual(done.stdout, "")
        self.assertTrue(done.stderr.startswith(f"finch {words[0]}: "), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)
        return done.stderr

    def test_unknown_options_name_the_nearest(self):
        self.assertIn("did you mean --quiet?", self.refused("help", "--qiuet"))
        self.assertIn("did you mean --threads?", self.refused("man", "--thread", "2"))
        self.assertIn("did you mean --threads?", self.refused("man", "--threads-n=2"))
        self.assertIn("finch man --help", self.refused("man", "--completely-different"))
        self.assertIn("two dashes", self.refused("man", "-x"))
        self.assertIn("no option", self.refused("man", "--" + "x" * 5000))
        self.assertIn("no option", self.refused("man", "--=5"))

    def test_every_command_refuses_what_it_does_not_know(self):
        for command in TABLES["commands"]:
            self.assertIn("--zzzzqqqq", self.refused(command["name"], "--zzzzqqqq"))

    def test_numbers(self):
        for wrong in ("", "x", "1x", "-1", "0x10", " 1", "+1", "1e3", "99999999999999999999999"):
            self.assertIn("whole number", self.refused("man", f"--threads={wrong}"))
        self.assertIn("from 1 to 1024", self.refused("man", "--threads", "0"))
        self.assertIn("from 1 to 1024", self.refused("man", "--threads", "1025"))
        self.assertEqual(finch("man", "--threads", "1024").returncode, 0)

    def test_reals_refuse_what_is_no_number(self):
        for command, option in commands_with("real"):
            for wrong in ("", "x", "1x", "nan", "inf", "1e999"):
                self.assertIn(f"--{option['name']} takes a number", self.refused(command["name"], f"--{option['name']}={wrong}"))

    def test_choices_name_the_words(self):
        for command, option in commands_with("choice"):
            self.assertIn(option["value"], self.refused(command["name"], f"--{option['name']}=zzz"))
            self.assertIn("is one of", self.refused(command["name"], f"--{option['name']}="))

    def test_missing_values(self):
        self.assertIn("needs a value: --threads N", self.refused("man", "--threads"))
        self.assertIn("needs a value: --threads N", self.refused("man", "--threads", "--quiet"))
        for kind in ("text", "path", "list", "size", "real", "choice"):
            for command, option in commands_with(kind):
                self.assertIn(f"--{option['name']} needs a value", self.refused(command["name"], f"--{option['name']}"))

    def test_required_options_are_missed(self):
        for command in TABLES["commands"]:
            required = [o["name"] for o in command["options"] if o["required"]]
            operand = (command["operand_words"] or "").split("|")[0]
            if required:
                self.assertIn(f"--{required[0]}", self.refused(command["name"], *([operand] if operand else [])))

    def test_flags_take_no_value(self):
        self.assertIn("takes no value", self.refused("man", "--markdown=yes"))

    def test_forms_of_one_option_are_equal(self):
        want = finch("man", "--markdown").stdout
        self.assertEqual(finch("man", "--no-markdown", "--markdown").stdout, want)
        self.assertEqual(finch("man", "--markdown", "--threads=2").stdout, want)
        self.assertEqual(finch("man", "--threads", "2", "--markdown").stdout, want)
        self.assertNotEqual(finch("man", "--markdown", "--no-markdown").stdout, want)

    def test_two_dashes_end_the_options(self):
        self.assertIn('no command "--quiet"', self.refused("man", "--", "--quiet"))
        self.assertEqual(finch("man", "--", "man").stdout, finch("man", "man").stdout)

    def test_operands_are_counted_and_checked(self):
        self.assertIn("one word too many", self.refused("man", "man", "help"))
        self.assertIn("SHELL is missing: one of bash|zsh|fish", self.refused("completion"))
        self.assertIn("SHELL is one of bash|zsh|fish", self.refused("completion", "tcsh"))

    def test_bytes_that_are_no_utf8_are_shown_or_refused_but_never_crash(self):
        done = finch(os.fsdecode(b"\xff\xfe"))
        self.assertEqual(done.returncode, 2)
        self.assertEqual(finch("man", os.fsdecode(b"--\x80\xff")).returncode, 2)


if __name__ == "__main__":
    unittest.main()
