// Talk to the sandbox server: the only place in this page that fetches.

const HEADERS = { "Content-Type": "application/json", "X-Sandbox": "1" };

/** Everything *user* sees now; an Error, with its `status`, where the sandbox does not say. */
export async function fetchState(user) {
  const answer = await fetch(`/state?user=${encodeURIComponent(user)}`, { cache: "no-store" });
  if (!answer.ok) throw Object.assign(new Error("No state"), { status: answer.status });
  return answer.json();
}

/** Do *what* (`say`, `click`, `submit` …); a failure is an answer with status 0 and a note, never an exception. */
export async function act(what, body) {
  try {
    const answer = await fetch(`/act/${what}`, { method: "POST", headers: HEADERS, body: JSON.stringify(body) });
    const given = await answer.json().catch(() => ({}));
    if (answer.ok) return given;
    return { status: answer.status, note: given.note || given.error || `The sandbox refused this (${answer.status}).` };
  } catch {
    return { status: 0, note: "The sandbox does not answer. Is the demo still running?" };
  }
}

/** What to say of an *answer* that did not go well. */
export function failureOf(answer) {
  return answer.note || `The app did not do this: it answered ${answer.status}.`;
}

/** True where *answer* says that the app did what it was asked. */
export function wentWell(answer) {
  return !answer?.note && (answer?.status === undefined || (answer.status >= 200 && answer.status < 300));
}

/** Call *changed* whenever the world of *user* changed, *connected*(bool) as the line comes and goes; answers how to stop. */
export function listen(user, { changed, connected }) {
  const source = new EventSource(`/changes?user=${encodeURIComponent(user)}`);
  source.addEventListener("changed", changed);
  source.addEventListener("open", () => connected(true));
  source.addEventListener("error", () => connected(false));
  return () => source.close();
}
