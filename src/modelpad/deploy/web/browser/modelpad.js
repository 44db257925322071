// The model for programs: import { load } from "./modelpad.js"; const model = await load("./");
// const { label } = await model.predict(canvas);  Types are in modelpad.d.ts.

export { load } from "./web/model.js";
