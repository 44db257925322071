// What the server, or the model in the page, says is wrong, and what to do about it.

export class ApiError extends Error {
  constructor(message, hint, needsKey = false, status = 0) {
    super(message);
    this.status = status;
    this.hint = hint ?? "";
    this.needsKey = needsKey;
  }
}
