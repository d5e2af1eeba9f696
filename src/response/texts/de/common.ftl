### Was auf mehr als einer Seite steht.
### Eine Meldung, deren Name auf -html endet, darf <strong> und <bdi> enthalten; was eingesetzt wird, wird maskiert.

error-title = Fehler: { $title }
languages = Sprache
status = Status
request-id = Anfrage-ID

username = Benutzername
username-or-email = Benutzername oder E-Mail-Adresse
password = Passwort
show = Anzeigen
show-password = Passwort anzeigen
hide = Verbergen
hide-password = Passwort verbergen
caps-lock = Die Feststelltaste ist aktiv.

sign-in = Anmelden
sign-in-as-other = Anderes Konto verwenden
go-to-login = Zur Anmeldeseite
go-to-start = Zur Startseite
try-again = Erneut versuchen
confirm-password = Passwort bestätigen

form-stale = Diese Seite war länger geöffnet. Bitte geben Sie Ihr Passwort noch einmal ein.
form-stale-confirm = Diese Seite war länger geöffnet. Bitte bestätigen Sie noch einmal.
too-many-attempts = Zu viele fehlgeschlagene Versuche. Bitte versuchen Sie es { $wait } erneut.

in-seconds = { $count ->
    [one] in { $count } Sekunde
   *[other] in { $count } Sekunden
}
in-minutes = { $count ->
    [one] in { $count } Minute
   *[other] in { $count } Minuten
}
in-hours = { $count ->
    [one] in { $count } Stunde
   *[other] in { $count } Stunden
}
lasting-minutes = { $count ->
    [one] { $count } Minute
   *[other] { $count } Minuten
}
lasting-hours = { $count ->
    [one] { $count } Stunde
   *[other] { $count } Stunden
}
lasting-days = { $count ->
    [one] { $count } Tag
   *[other] { $count } Tage
}

ago-now = gerade eben
ago-minutes = { $count ->
    [one] vor { $count } Minute
   *[other] vor { $count } Minuten
}
ago-hours = { $count ->
    [one] vor { $count } Stunde
   *[other] vor { $count } Stunden
}
ago-days = { $count ->
    [one] vor { $count } Tag
   *[other] vor { $count } Tagen
}

password-guessable = Dieses Passwort ist zu leicht zu erraten.
password-too-long = Verwenden Sie höchstens { $count } Zeichen.
password-too-short = Verwenden Sie mindestens { $count } Zeichen.
password-control = Steuerzeichen können nicht Teil eines Passworts sein.
password-because = { $sentence } { $reason }
password-common = Es gehört zu denen, die viele verwenden, oder ist einem davon sehr ähnlich.
password-date = Daten und Jahreszahlen werden besonders früh ausprobiert.
password-keyboard = Tastenreihen werden besonders früh ausprobiert.
password-name = Namen werden besonders früh ausprobiert.
password-personal = Die eigenen Namen und der Name dieser Website werden besonders früh ausprobiert.
password-repeat = Wiederholungen machen es kaum sicherer.
password-sequence = Folgen wie abc oder 6543 werden besonders früh ausprobiert.
password-word = Einzelne Wörter werden besonders früh ausprobiert.
strength = Stärke: { $word }.
strength-refused = Stärke: { $word }, zu leicht zu erraten.
strength-very-weak = sehr schwach
strength-weak = schwach
strength-fair = mittel
strength-good = gut
strength-strong = stark
