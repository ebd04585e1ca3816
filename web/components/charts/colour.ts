/** The colour of a token of app/globals.css, as the theme has it now. */
export function tokenColour(name: string, alpha = 1): string {
  const value = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  return `rgb(${value} / ${alpha})`;
}
