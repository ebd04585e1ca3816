import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { beforeEach, describe, expect, it } from "vitest";

import { Analyse } from "@/components/analyse/analyse";
import { useAccess, useAnalyses } from "@/lib/store";
import { fakeServer, show } from "@/tests/unit/render";

const prediction = {
  label: "POSITIVE",
  score: 0.45,
  probabilities: { STRONGLY_NEGATIVE: 0.01, NEGATIVE: 0.02, NEUTRAL: 0.07, POSITIVE: 0.85, STRONGLY_POSITIVE: 0.05 },
  tickers: ["AAPL"],
  tokens: 5,
  truncated: false,
  model: "mini@1",
  cached: false,
  explanation: { method: "shapley", base: 0.01, sum: 0.44, residual: 0, words: [{ word: "$AAPL", begin: 0, end: 5, weight: 0.3 }, { word: "up", begin: 6, end: 8, weight: 0.14 }] },
};

beforeEach(() => {
  useAnalyses.setState({ analyses: [] });
  useAccess.setState({ needed: false, asked: false });
});

describe("Analyse", () => {
  it("shows label, bars, words and tickers, and remembers the text", async () => {
    const asked = fakeServer({ "POST /api/v1/predict": { data: prediction } });
    show(<Analyse />);
    await userEvent.type(screen.getByLabelText("Text"), "$AAPL up");
    await userEvent.click(screen.getByRole("button", { name: "Analyse" }));
    expect(await screen.findByRole("heading", { name: /Positive/ })).toBeVisible();
    expect(screen.getByText("85.0 %")).toBeVisible();
    expect(screen.getByTitle("+0.300 to the score")).toHaveTextContent("$AAPL");
    expect(screen.getByRole("link", { name: "$AAPL" })).toHaveAttribute("href", "/?ticker=AAPL");
    const request = asked.find((a) => a.key === "POST /api/v1/predict");
    expect(request?.body).toEqual({ text: "$AAPL up", explain: true });
    expect(request?.headers.get("X-Finch-Session")).toBe("1");
    expect(useAnalyses.getState().analyses.map((a) => a.text)).toEqual(["$AAPL up"]);
  });

  it("asks each chosen model, side by side", async () => {
    const served = ["a@1", "b@1"].map((id, i) => ({ id, name: id, version: "1", default: i === 0 }));
    const asked = fakeServer({
      "GET /api/v1/models": { data: { served, registered: [] } },
      "POST /api/v1/predict": (body) => ({ data: { ...prediction, model: (body as { model: string }).model } }),
    });
    show(<Analyse />);
    await userEvent.click(await screen.findByRole("checkbox", { name: "b@1" }));
    await userEvent.type(screen.getByLabelText("Text"), "x");
    await userEvent.click(screen.getByRole("button", { name: "Analyse" }));
    expect(await screen.findAllByRole("article")).toHaveLength(2);
    expect(asked.filter((a) => a.key.startsWith("POST")).map((a) => (a.body as { model: string }).model)).toEqual(["a@1", "b@1"]);
  });

  it("says what is wrong with the text, field by field", async () => {
    fakeServer({
      "POST /api/v1/predict": { status: 422, error: { code: "validation_failed", message: "1 field is wrong", details: [{ loc: ["body", "text"], msg: "too long" }] } },
    });
    show(<Analyse />);
    await userEvent.type(screen.getByLabelText("Text"), "x{Control>}{Enter}{/Control}");
    expect(await screen.findByRole("alert")).toHaveTextContent("body.text: too long");
  });

  it("opens the sign-in on 401, and counts down on 429", async () => {
    fakeServer({ "POST /api/v1/predict": { status: 401, error: { code: "key_missing", message: "an API key is needed" } } });
    show(<Analyse />);
    await userEvent.type(screen.getByLabelText("Text"), "x{Control>}{Enter}{/Control}");
    expect(await screen.findByRole("alert")).toHaveTextContent("An API key is needed");
    expect(useAccess.getState()).toMatchObject({ needed: true, asked: true });
    fakeServer({ "POST /api/v1/predict": { status: 429, error: { code: "rate_limited", message: "slow down" }, headers: { "Retry-After": "7" } } });
    await userEvent.type(screen.getByLabelText("Text"), "{Control>}{Enter}{/Control}");
    expect(await screen.findByRole("button", { name: "Again in 7 s" })).toBeDisabled();
  });
});
