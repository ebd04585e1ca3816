import { Slot } from "@radix-ui/react-slot";
import { cva, type VariantProps } from "class-variance-authority";
import { forwardRef, type ButtonHTMLAttributes } from "react";

import { cn } from "@/lib/cn";

const looks = cva(
  "inline-flex items-center justify-center gap-1.5 whitespace-nowrap rounded-md text-sm font-medium transition-colors disabled:cursor-not-allowed disabled:opacity-50 [&_svg]:size-4 [&_svg]:shrink-0",
  {
    variants: {
      look: {
        solid: "bg-accent text-on-accent hover:bg-accent/90",
        line: "border border-line bg-surface text-ink hover:bg-raised",
        ghost: "text-ink hover:bg-raised",
        danger: "border border-danger/50 bg-surface text-danger hover:bg-danger/10",
      },
      size: { normal: "h-9 px-3.5", small: "h-8 px-2.5", icon: "size-9" },
    },
    defaultVariants: { look: "line", size: "normal" },
  },
);

type ButtonProps = ButtonHTMLAttributes<HTMLButtonElement> & VariantProps<typeof looks> & { asChild?: boolean };

export const Button = forwardRef<HTMLButtonElement, ButtonProps>(function Button(
  { className, look, size, asChild = false, type = "button", ...rest },
  ref,
) {
  const Tag = asChild ? Slot : "button";
  return <Tag ref={ref} className={cn(looks({ look, size }), className)} {...(asChild ? {} : { type })} {...rest} />;
});
