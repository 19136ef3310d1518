// Call the sandbox server; no other module of this page fetches.

const HEADERS = { "Content-Type": "application/json", "X-Sandbox": "1" };

/** Return everything that *user* sees now; throws an Error with a `status` if the server refuses. */
export async function fetchState(user) {
  const answer = await fetch(`/state?user=${encodeURIComponent(user)}`, { cache: "no-store" });
  if (!answer.ok) throw Object.assign(new Error("No state"), { status: answer.status });
  return answer.json();
}

/** Do *what* (`say`, `click`, `submit` …); a failure is an answer with a note, never an exception. */
export async function act(what, body) {
  try {
    const answer = await fetch(`/act/${what}`, { method: "POST", headers: HEADERS, body: JSON.stringify(body) });
    const content = await answer.json().catch(() => ({}));
    if (answer.ok) return content;
    return { status: answer.status, note: content.error || `The sandbox refused this (${answer.status}).` };
  } catch {
    return { status: 0, note: "The sandbox does not answer. Is the demo still running?" };
  }
}

/** Return the error message of an *answer*. */
export function failureOf(answer) {
  return answer.note || `The app did not do this: it answered ${answer.status}.`;
}

/** Return whether *answer* says that the app accepted the request. */
export function wentWell(answer) {
  return !answer?.note && (answer?.status === undefined || (answer.status >= 200 && answer.status < 300));
}

/** Call *changed* after each change, and *connected*(bool) when the connection opens or breaks; return a function to stop. */
export function listen(user, { changed, connected }) {
  const source = new EventSource(`/changes?user=${encodeURIComponent(user)}`);
  source.addEventListener("changed", changed);
  source.addEventListener("open", () => connected(true));
  source.addEventListener("error", () => connected(false));
  return () => source.close();
}
