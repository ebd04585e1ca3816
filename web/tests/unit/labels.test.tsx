import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { beforeEach, describe, expect, it, vi } from "vitest";

import { Labels } from "@/components/labels/labels";
import { fakeServer, show } from "@/tests/unit/render";

vi.mock("next/navigation", () => ({ useSearchParams: () => new URLSearchParams(window.location.search), usePathname: () => "/labels" }));

const items = ["first text", "second text"].map((text, i) => ({ hash: `h${i}`, text, label: "POSITIVE", mine: null, confidence: 0.6, doubt: 0.5, reason: null, opinions: [] }));
const queue = { job: "j", reviewer: "api", waiting: 2, done: 0, items, agreement: [] };
const job = { job: "j", state: "running", model: "standin", texts: 40, labelled: 30, unlabelled: 2, waiting: 8, requests: 3, failed_requests: 0, rate_limited: 1, cost_usd: 0.06, created: "2026-01-02T03:04:05Z" };
const jobs = [{ ...job, classes: { STRONGLY_NEGATIVE: 0, NEGATIVE: 15, NEUTRAL: 15, POSITIVE: 0, STRONGLY_POSITIVE: 0 } }];
const server = () => fakeServer({ "GET /api/v1/labels": { data: { jobs } }, "GET /api/v1/reviews": { data: queue }, "POST /api/v1/reviews": (body) => ({ data: body }) });
const marks = (asked: ReturnType<typeof fakeServer>) => asked.filter((a) => a.key.startsWith("POST")).map((a) => a.body);

beforeEach(() => window.history.replaceState(null, "", "/labels"));

describe("the jobs", () => {
  it("shows progress, classes and cost", async () => {
    server();
    show(<Labels />);
    expect(await screen.findByText("30 of 40 labelled, 2 set aside")).toBeVisible();
    expect(screen.getByText("$0.0600")).toBeVisible();
    expect(screen.getByText("$2.000 a thousand")).toBeVisible();
    expect(screen.getByRole("img", { name: "Strongly negative 0 %, Negative 50 %, Neutral 50 %, Positive 0 %, Strongly positive 0 %" })).toBeVisible();
    expect(screen.getByRole("progressbar", { name: "Progress of j" })).toHaveAttribute("data-value", "80");
  });
});

describe("the review desk", () => {
  it("labels by keys and takes back", async () => {
    const asked = server();
    show(<Labels />);
    await screen.findByText("first text");
    await userEvent.keyboard("4");
    await screen.findByText("second text");
    expect(screen.getByText(/1 now, 100 % as the machine/)).toBeVisible();
    await userEvent.keyboard("u");
    await screen.findByText("first text");
    await userEvent.keyboard("1");
    await screen.findByText("second text");
    expect(marks(asked)).toEqual([
      { hash: "h0", label: "POSITIVE" },
      { hash: "h0", label: null },
      { hash: "h0", label: "STRONGLY_NEGATIVE" },
    ]);
  });

  it("labels nothing while a name is typed, nor with Ctrl", async () => {
    const asked = server();
    show(<Labels />);
    await screen.findByText("first text");
    await userEvent.type(screen.getByLabelText("Who reviews"), "15u");
    await userEvent.click(screen.getByText("first text"));
    await userEvent.keyboard("{Control>}1{/Control}9");
    expect(marks(asked)).toEqual([]);
  });

  it("hides the machine's label when blind", async () => {
    window.history.replaceState(null, "", "/labels?blind=1");
    server();
    show(<Labels />);
    await screen.findByText("first text");
    expect(screen.queryByText(/The machine:/)).toBeNull();
    expect(screen.getByText("Hidden while you label blind.")).toBeVisible();
  });

  it("keeps the text where the server refuses the label", async () => {
    fakeServer({ "GET /api/v1/labels": { data: { jobs } }, "GET /api/v1/reviews": { data: queue }, "POST /api/v1/reviews": { status: 503, error: { code: "busy", message: "full" } } });
    show(<Labels />);
    await screen.findByText("first text");
    await userEvent.keyboard("2");
    expect(await screen.findByRole("alert")).toHaveTextContent("The server is busy");
    expect(screen.getByText("first text")).toBeVisible();
  });
});
