### Ein Passwort über einen Link festlegen.

reset-heading = Passwort wählen
reset-who-html = für <strong>{ $username }</strong>
reset-password = Neues Passwort
reset-hint = Ein paar Wörter hintereinander sind leicht zu merken und schwer zu erraten.
reset-again = Neues Passwort wiederholen
reset-submit = Passwort festlegen
reset-elsewhere = Falls Sie anderswo angemeldet sind, werden Sie dort abgemeldet.
reset-empty = Geben Sie ein Passwort ein.
reset-differs = Die beiden Passwörter stimmen nicht überein. Bitte geben Sie beide noch einmal ein.
reset-stale = Diese Seite war länger geöffnet. Bitte geben Sie das Passwort noch einmal ein.
reset-unavailable = Das Passwort kann gerade nicht festgelegt werden. Bitte versuchen Sie es in einigen Sekunden erneut.
reset-weak-title = Passwort zu schwach

link-incomplete = Der Link ist nicht vollständig. Bitte kopieren Sie ihn ganz.
link-invalid-title = Dieser Link gilt nicht mehr
link-invalid = Er funktioniert einmal und für begrenzte Zeit. Bitten Sie die Person, von der Sie ihn haben, um einen neuen.

forgot-heading = Passwort vergessen?
forgot-lead = Wir schicken Ihnen einen Link, mit dem Sie ein neues wählen können.
forgot-submit = Link senden
forgot-stale = Diese Seite war länger geöffnet. Bitte senden Sie sie noch einmal ab.
forgot-unavailable = Der Link kann gerade nicht gesendet werden. Bitte versuchen Sie es in einigen Sekunden erneut.
forgot-limited = Von hier aus wurden zu viele Links angefordert. Bitte versuchen Sie es { $wait } erneut.
notice-link-sent = Falls es zu dieser Adresse ein Konto gibt, ist eine E-Mail mit einem Link unterwegs. Der Link gilt eine Stunde.

address-heading = E-Mail-Adresse ändern
address-present-html = Ihre aktuelle Adresse ist <strong>{ $email }</strong>.
address-none = Ihr Konto hat noch keine Adresse.
address-new = Neue E-Mail-Adresse
address-hint = Wir schicken eine E-Mail mit einem Link dorthin. Bis Sie ihn öffnen, gilt die bisherige Adresse.
address-password = Ihr Passwort
address-submit = Adresse ändern
address-back = Zurück zum Konto
address-same = Das ist bereits Ihre Adresse.
address-incorrect-title = Falsches Passwort
address-unavailable = Die Adresse kann gerade nicht geändert werden. Bitte versuchen Sie es in einigen Sekunden erneut.
notice-address-changing = Bitte sehen Sie in das Postfach Ihrer neuen Adresse: Der Link, den wir dorthin geschickt haben, bestätigt sie.
address-link = Adresse ändern
