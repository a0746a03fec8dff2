import type { Translate } from "../../src/words";

/** English as it stands in the source. */
export const t: Translate = (message, ...values) => message.replace(/\{(\d)\}/g, (_, index) => String(values[index]));
