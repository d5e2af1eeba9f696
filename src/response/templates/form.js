// What a form is better with and works without: showing a password, a hint at Caps Lock, the
// fragment of the page that was wanted, and word that something is under way.
(function () {
  "use strict";
  var form = document.querySelector("form");
  if (!form) return;

  var reveal = form.querySelector("[data-reveal]");
  var password = reveal && document.getElementById(reveal.getAttribute("data-reveal"));
  function show(visible) {
    password.type = visible ? "text" : "password";
    reveal.textContent = visible ? "Hide" : "Show";
    reveal.setAttribute("aria-label", visible ? "Hide password" : "Show password");
  }
  if (password) {
    reveal.hidden = false;
    reveal.addEventListener("click", function () {
      show(password.type === "password");
      password.focus();
    });
  }

  var caps = form.querySelector("[data-caps]");
  function hint(event) {
    if (!event.getModifierState) return;
    var text = event.getModifierState("CapsLock") ? "Caps Lock is on." : "";
    if (caps.textContent !== text) caps.textContent = text;
  }
  if (caps && password) {
    password.addEventListener("keydown", hint);
    password.addEventListener("keyup", hint);
    password.addEventListener("blur", function () { caps.textContent = ""; });
  }

  form.addEventListener("submit", function () {
    // Hidden again before the browser keeps it as an ordinary text.
    if (password) show(false);
    var next = form.elements.namedItem("next");
    if (form.hasAttribute("data-keep-fragment") && next && location.hash && next.value.indexOf("#") < 0) {
      next.value += location.hash;
    }
    var submit = form.querySelector("[type=submit]");
    submit.setAttribute("aria-busy", "true");
    setTimeout(function () { submit.removeAttribute("aria-busy"); }, 8000);
  });
  window.addEventListener("pageshow", function () {
    form.querySelector("[type=submit]").removeAttribute("aria-busy");
  });
})();
