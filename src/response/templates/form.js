// What forms are better with and work without: showing a password, a hint at Caps Lock, the fragment
// of the page that was wanted, word that something is under way, and of a login in another tab.
(function () {
  "use strict";
  function each(selector, visit) {
    Array.prototype.forEach.call(document.querySelectorAll(selector), visit);
  }
  function show(button, visible) {
    document.getElementById(button.dataset.reveal).type = visible ? "text" : "password";
    button.textContent = visible ? button.dataset.hide : button.dataset.show;
    button.setAttribute("aria-label", visible ? button.dataset.hideLabel : button.dataset.showLabel);
  }

  each("[data-reveal]", function (button) {
    var password = document.getElementById(button.dataset.reveal);
    button.hidden = false;
    button.addEventListener("click", function () {
      show(button, password.type === "password");
      password.focus();
    });
  });

  each("[data-caps]", function (caps) {
    var password = document.getElementById(caps.dataset.caps);
    function hint(event) {
      if (!event.getModifierState) return;
      var text = event.getModifierState("CapsLock") ? caps.dataset.text : "";
      if (caps.textContent !== text) caps.textContent = text;
    }
    password.addEventListener("keydown", hint);
    password.addEventListener("keyup", hint);
    password.addEventListener("blur", function () { caps.textContent = ""; });
  });

  each("[data-strength]", function (strength) {
    var password = document.getElementById(strength.dataset.strength);
    var meter = strength.querySelector("meter"), said = strength.querySelector("p"), asked = 0, timer;
    function ask() {
      var words = { password: password.value }, number = ++asked;
      if (!password.value) { strength.hidden = true; return; }
      ["username", "name", "email"].forEach(function (name) {
        var field = password.form.elements.namedItem(name);
        if (field && field.value) words[name] = field.value;
      });
      var head = { accept: "application/json", "content-type": "application/json" };
      fetch(strength.dataset.href, { method: "POST", headers: head, body: JSON.stringify(words) }).then(function (answer) {
        return answer.ok ? answer.json() : null;
      }).then(function (judged) {
        // A later question has overtaken this one.
        if (number !== asked) return;
        strength.hidden = !judged;
        if (judged) { meter.value = judged.acceptable ? judged.score : Math.min(judged.score, 1); said.textContent = judged.text; }
      }, function () { strength.hidden = true; });
    }
    password.addEventListener("input", function () {
      clearTimeout(timer);
      timer = setTimeout(ask, 400);
    });
  });

  each("form", function (form) {
    form.addEventListener("submit", function () {
      // Hidden again before the browser keeps it as an ordinary text.
      Array.prototype.forEach.call(form.querySelectorAll("[data-reveal]"), function (button) { show(button, false); });
      var next = form.elements.namedItem("next");
      if (form.hasAttribute("data-keep-fragment") && next && location.hash && next.value.indexOf("#") < 0) {
        next.value += location.hash;
      }
      var submit = form.querySelector("[type=submit]");
      submit.setAttribute("aria-busy", "true");
      setTimeout(function () { submit.removeAttribute("aria-busy"); }, 8000);
    });
  });
  window.addEventListener("pageshow", function () {
    each("[aria-busy]", function (busy) { busy.removeAttribute("aria-busy"); });
  });

  each("[data-elsewhere]", function (notice) {
    document.addEventListener("visibilitychange", function () {
      if (document.hidden || !notice.hidden) return;
      // As a person asks: a program is offered Basic, for which the browser would open a dialogue.
      fetch(notice.dataset.elsewhere, { headers: { accept: "text/html" } }).then(function (answer) {
        notice.hidden = !answer.ok;
        return answer.text();
      }).catch(function () {});
    });
  });
})();
