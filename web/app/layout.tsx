import "@fontsource-variable/inter/index.css";
import "./globals.css";

import type { Metadata, Viewport } from "next";
import { Suspense, type ReactNode } from "react";

import { Mounted } from "@/components/mounted";
import { Providers } from "@/components/providers";
import { Shell } from "@/components/shell";

export const metadata: Metadata = {
  title: { default: "finch", template: "%s · finch" },
  description: "Market sentiment of financial tweets",
  icons: { icon: "/icon.svg" },
};

export const viewport: Viewport = { width: "device-width", initialScale: 1 };

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en" suppressHydrationWarning>
      <head>
        <script src="/theme.js" />
      </head>
      <body>
        <Providers>
          <Shell>
            <Mounted>
              <Suspense>{children}</Suspense>
            </Mounted>
          </Shell>
        </Providers>
      </body>
    </html>
  );
}
