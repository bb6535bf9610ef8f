// A number: typed, or drawn with a slider where a range is worth showing. An empty field means the default, which it shows.
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { plain } from "../lib/format.js";
import { Field } from "./field.js";

/**
 * @param {object} props
 * @param {number|undefined} props.value undefined for the default
 * @param {number|undefined} props.fallback the default
 * @param {boolean} [props.slider]
 * @param {(value: number|undefined) => void} props.onChange
 */
export function NumberField({ label, hint, error, value, fallback, min, max, hardMax, step = 1, slider = false, onChange }) {
  const [text, setText] = useState(value === undefined ? "" : plain(value));
  const typing = useRef(false);
  useEffect(() => {
    if (!typing.current) setText(value === undefined ? "" : plain(value));
  }, [value]);

  const type = (event) => {
    typing.current = true;
    setText(event.target.value);
    const number = event.target.value === "" ? undefined : Number(event.target.value);
    if (!Number.isNaN(number)) onChange(number);
  };
  const leave = () => {
    typing.current = false;
    if (value !== undefined && value < min) onChange(min);
    else if (value !== undefined && value > (hardMax ?? max)) onChange(hardMax ?? max);
    else setText(value === undefined ? "" : plain(value));
  };
  const shown = value ?? fallback;
  const reset = value === undefined || value === fallback ? undefined : () => onChange(undefined);
  const number = (attributes) => html`
    <input type="number" inputmode="decimal" ...${attributes} value=${text} min=${min} max=${hardMax ?? max} step=${step}
      placeholder=${fallback === undefined ? "" : plain(fallback)} onInput=${type} onBlur=${leave} />
  `;
  return html`
    <${Field} label=${label} hint=${hint} error=${error} onReset=${reset}>
      ${(attributes) =>
        slider
          ? html`<div class="slider-row">
              <input type="range" aria-label=${label} min=${min} max=${max} step=${step} value=${shown ?? min} tabindex="-1"
                onInput=${(event) => onChange(Number(event.target.value))} />
              ${number(attributes)}
            </div>`
          : number(attributes)}
    <//>
  `;
}
