### Ein Passwort über einen Link setzen.

reset-heading = Passwort wählen
reset-who-html = für <strong>{ $username }</strong>
reset-password = Neues Passwort
reset-hint = Ein paar Wörter hintereinander sind leicht zu merken und schwer zu erraten.
reset-again = Neues Passwort wiederholen
reset-submit = Passwort setzen
reset-elsewhere = Falls Sie anderswo angemeldet sind, werden Sie dort abgemeldet.
reset-empty = Geben Sie ein Passwort ein.
reset-differs = Die beiden Passwörter stimmen nicht überein. Bitte geben Sie beide noch einmal ein.
reset-stale = Diese Seite war länger geöffnet. Bitte geben Sie das Passwort noch einmal ein.
reset-unavailable = Das Passwort kann gerade nicht gesetzt werden. Bitte versuchen Sie es in einigen Sekunden erneut.
reset-weak-title = Passwort zu schwach

link-incomplete = Der Link ist nicht vollständig. Bitte kopieren Sie ihn ganz.
link-invalid-title = Dieser Link gilt nicht mehr
link-invalid = Er funktioniert einmal und für begrenzte Zeit. Bitten Sie die Person, von der Sie ihn haben, um einen neuen.
