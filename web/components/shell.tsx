"use client";

import { useQuery } from "@tanstack/react-query";
import { Activity, Boxes, ChartLine, Database, KeyRound, LogOut, MessageSquareText, Monitor, Moon, PlugZap, Server, Sun, Tags } from "lucide-react";
import Link from "next/link";
import { usePathname } from "next/navigation";
import { useEffect, useRef, type ReactNode } from "react";

import { SignIn, useSignOut } from "@/components/sign-in";
import { Button } from "@/components/ui/button";
import { healthQuery, readyQuery } from "@/lib/api/queries";
import { cn } from "@/lib/cn";
import { useAccess, useAnalyses, usePreferences, type Theme } from "@/lib/store";

const pages = [
  { path: "/", title: "Market", icon: ChartLine },
  { path: "/analyse", title: "Analyse", icon: MessageSquareText },
  { path: "/batches", title: "Batches", icon: Boxes },
  { path: "/models", title: "Models", icon: Activity },
  { path: "/labels", title: "Labels", icon: Tags },
  { path: "/data", title: "Data", icon: Database },
  { path: "/system", title: "System", icon: Server },
] as const;

function Navigation() {
  const path = usePathname();
  const strip = useRef<HTMLElement>(null);
  /* On a narrow screen the pages stand in a row that scrolls: the one that is shown comes to its middle. */
  useEffect(() => {
    const here = strip.current?.querySelector<HTMLElement>("[aria-current]");
    if (strip.current && here) strip.current.scrollLeft = here.offsetLeft - (strip.current.clientWidth - here.offsetWidth) / 2;
  }, [path]);
  return (
    <nav ref={strip} aria-label="Pages" className="relative overflow-x-auto lg:overflow-visible">
      <ul className="flex gap-1 lg:flex-col">
        {pages.map(({ path: href, title, icon: Icon }) => {
          const here = path === href;
          return (
            <li key={href}>
              <Link
                href={href}
                aria-current={here ? "page" : undefined}
                className={cn(
                  "flex items-center gap-2 whitespace-nowrap rounded-md px-3 py-2 text-sm font-medium",
                  here ? "bg-accent text-on-accent" : "text-ink hover:bg-raised",
                )}
              >
                <Icon className="size-4" aria-hidden />
                {title}
              </Link>
            </li>
          );
        })}
      </ul>
    </nav>
  );
}

const themes: { value: Theme; title: string; icon: typeof Sun }[] = [
  { value: "system", title: "As the system", icon: Monitor },
  { value: "light", title: "Light", icon: Sun },
  { value: "dark", title: "Dark", icon: Moon },
];

function ThemeSwitch() {
  const { theme, setTheme } = usePreferences();
  useEffect(() => {
    const system = matchMedia("(prefers-color-scheme: dark)");
    const apply = () => {
      document.documentElement.classList.toggle("dark", theme === "dark" || (theme === "system" && system.matches));
      window.dispatchEvent(new Event("finch-theme"));
    };
    apply();
    system.addEventListener("change", apply);
    return () => system.removeEventListener("change", apply);
  }, [theme]);
  const now = themes.find((t) => t.value === theme) ?? themes[0]!;
  const next = themes[(themes.indexOf(now) + 1) % themes.length]!;
  const Icon = now.icon;
  return (
    <Button look="ghost" size="icon" aria-label={`Theme: ${now.title}. Change to: ${next.title}`} title={`Theme: ${now.title}`} onClick={() => setTheme(next.value)}>
      <Icon />
    </Button>
  );
}

/** Over all pages: whether the server is there at all, and whether it is ready. */
function ServerNotice() {
  const health = useQuery(healthQuery);
  const ready = useQuery({ ...readyQuery, enabled: health.isSuccess });
  const gone = health.isError;
  const story = gone ? "The server can't be reached. This page goes on by itself once it answers." : ready.error?.message;
  return (
    <div aria-live="polite">
      {(gone || ready.isError) && (
        <p className="flex items-center gap-2 border-b border-warn/40 bg-warn/10 px-4 py-2 text-sm text-warn">
          <PlugZap className="size-4 shrink-0" aria-hidden /> {story}
        </p>
      )}
    </div>
  );
}

function Access() {
  const { needed, set } = useAccess();
  const signOut = useSignOut();
  if (!needed)
    return (
      <Button look="ghost" size="icon" aria-label="Sign in with an API key" title="Sign in" onClick={() => set({ asked: true })}>
        <KeyRound />
      </Button>
    );
  return (
    <Button look="ghost" size="icon" aria-label="Sign out" title="Sign out" onClick={signOut}>
      <LogOut />
    </Button>
  );
}

export function Shell({ children }: { children: ReactNode }) {
  useEffect(() => {
    void usePreferences.persist.rehydrate();
    void useAnalyses.persist.rehydrate();
  }, []);
  return (
    <>
      <a href="#main" className="sr-only focus:not-sr-only focus:absolute focus:z-50 focus:bg-surface focus:p-3">
        Skip to the content
      </a>
      <ServerNotice />
      <div className="mx-auto max-w-page lg:flex">
        <header className="sticky top-0 z-30 flex flex-col gap-2 border-b bg-surface px-3 py-2 lg:h-screen lg:w-52 lg:shrink-0 lg:gap-5 lg:border-b-0 lg:border-r lg:px-3 lg:py-5">
          <div className="flex items-center justify-between">
            <Link href="/" className="flex items-center gap-2 px-1 text-lg font-semibold">
              <img src="/icon.svg" alt="" width={26} height={26} /> finch
            </Link>
            <div className="flex">
              <ThemeSwitch />
              <Access />
            </div>
          </div>
          <Navigation />
          <a href="/docs" className="hidden px-3 text-sm text-muted underline-offset-2 hover:underline lg:mt-auto lg:block">
            API documentation
          </a>
        </header>
        <main id="main" tabIndex={-1} className="min-w-0 flex-1 space-y-4 p-3 outline-none sm:p-5">
          {children}
        </main>
      </div>
      <SignIn />
    </>
  );
}

/** What a page is called and for. */
export function PageHead({ title, hint, children }: { title: string; hint: string; children?: ReactNode }) {
  return (
    <div className="flex flex-wrap items-end justify-between gap-3">
      <div>
        <h1 className="text-2xl font-semibold tracking-tight">{title}</h1>
        <p className="text-sm text-muted">{hint}</p>
      </div>
      {children && <div className="flex flex-wrap items-center gap-2">{children}</div>}
    </div>
  );
}
