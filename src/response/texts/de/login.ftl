### An- und Abmelden.

login-heading = Anmelden
login-continue-html = weiter zu <strong>{ $place }</strong>
login-still-you = Bitte bestätigen Sie, dass Sie es noch sind.
login-still-you-before-html = Bevor es zu <strong>{ $place }</strong> weitergeht, bestätigen Sie bitte, dass Sie es noch sind.
login-remember = Angemeldet bleiben ({ $lasting })
login-submit = Anmelden
login-confirm = Bestätigen
login-forgot = Passwort vergessen?
login-register = Konto anlegen
login-elsewhere = Sie haben sich in einem anderen Browserfenster angemeldet.
login-go-on = Weiter
login-incorrect-title = Benutzername oder Passwort falsch
login-incorrect = Benutzername oder Passwort falsch.
login-incomplete = Geben Sie Ihren Benutzernamen und Ihr Passwort ein.
login-unavailable = Passwörter können gerade nicht geprüft werden. Bitte versuchen Sie es in einigen Sekunden erneut.

logout-title = Abmelden
logout-heading = Abmelden?
logout-who-html = Sie sind als <strong>{ $username }</strong> angemeldet.
logout-submit = Abmelden
logout-stay = Angemeldet bleiben
logout-nobody = Sie sind nicht angemeldet
logout-nothing = Es gibt nichts, wovon Sie sich abmelden könnten.

notice-signed-out = Sie sind abgemeldet.
notice-password-set = Ihr Passwort ist festgelegt. Sie können sich jetzt damit anmelden.
