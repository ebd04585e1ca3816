import type { Config } from "tailwindcss";

const token = (name: string) => `rgb(var(--${name}) / <alpha-value>)`;

export default {
  darkMode: "class",
  content: ["./app/**/*.tsx", "./components/**/*.tsx", "./lib/**/*.ts"],
  theme: {
    extend: {
      colors: {
        background: token("background"),
        surface: token("surface"),
        raised: token("raised"),
        line: token("line"),
        ink: token("ink"),
        muted: token("muted"),
        accent: token("accent"),
        "on-accent": token("on-accent"),
        danger: token("danger"),
        good: token("good"),
        warn: token("warn"),
        class: { 0: token("class-0"), 1: token("class-1"), 2: token("class-2"), 3: token("class-3"), 4: token("class-4") },
      },
      fontFamily: { sans: ["Inter Variable", "system-ui", "sans-serif"] },
      maxWidth: { page: "120rem" },
    },
  },
} satisfies Config;
