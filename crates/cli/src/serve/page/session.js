// The token of the page. The server keeps it in a cookie that no script can read; the page has only the form for it.

const at = (id) => document.getElementById(id);

/** Beside the cookie with the token there is one without, which only shows that the other one exists. */
const isSignedIn = () => /(^|; )tidings-signed-in=/.test(document.cookie);

function ask() {
  at("sign-in").hidden = false;
  at("sign-out").hidden = true;
}

async function signIn(token) {
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch("/session", { method: "POST", headers });
  if (response.ok) return;
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.detail || `The server answered ${response.status}.`);
}

at("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = at("token").value.trim();
  // The field must not keep it.
  at("token").value = "";
  try {
    await signIn(token);
    location.reload();
  } catch (error) {
    at("sign-in-result").textContent = error.message;
    at("token").focus();
  }
});

at("sign-out").addEventListener("click", async () => {
  await fetch("/session", { method: "DELETE" }).catch(() => {});
  location.reload();
});

// `stream.js` sends it after an answer with 401.
addEventListener("tidings-unauthorized", ask);
at("sign-out").hidden = !isSignedIn();
