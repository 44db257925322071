// What is wrong with an input, and what to do.

export class InvalidInput extends Error {
  constructor(message, hint = "") {
    super(message);
    this.hint = hint;
  }
}
