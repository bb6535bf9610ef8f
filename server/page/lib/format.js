// Numbers, sizes, times and dates as people write them.
import { language, t } from "./i18n.js";

const number = (value, options) => new Intl.NumberFormat(language.value, options).format(value);

/** Bytes in the largest unit that gives at least 1: `3.4 GB`. */
export function bytes(size) {
  const units = ["unit.bytes", "unit.kb", "unit.mb", "unit.gb", "unit.tb"];
  let value = size;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${number(value, { maximumFractionDigits: digits })} ${t(units[unit])}`;
}

/** A whole number, with the language's separators: `3,001`. */
export const count = (value) => number(value);

/** Numbers of parameters: `859 M`. */
export const compact = (value) => number(value, { notation: "compact", maximumFractionDigits: 1 });

export const percent = (part) => number(part, { style: "percent", maximumFractionDigits: 0 });

/** Seconds as `12 s`, `3 min 20 s` or `1 h 5 min`. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return t("time.seconds", { s: whole });
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return t("time.minutes", { m: minutes, s: whole % 60 });
  return t("time.hours", { h: Math.floor(minutes / 60), m: minutes % 60 });
}

/** A date and time of RFC 3339, in the reader's time zone. */
export function moment(text) {
  if (!text) return "";
  return new Intl.DateTimeFormat(language.value, { dateStyle: "medium", timeStyle: "short" }).format(new Date(text));
}

/** A number in as few digits as it needs. */
export const plain = (value) => (typeof value === "number" ? String(Number(value.toPrecision(7))) : String(value));
