### Ein Konto anlegen und eine Adresse bestätigen.

register-heading = Konto anlegen
register-at-html = bei <strong>{ $place }</strong>
register-invited-html = Sie sind als <strong>{ $email }</strong> eingeladen.
register-username-hint = Damit melden Sie sich an. Andere können ihn sehen.
register-email = E-Mail-Adresse
register-email-hint = Wir schicken Ihnen eine E-Mail mit einem Link, der sie bestätigt.
register-name = Ihr Name (freiwillig)
register-name-hint = So wird Ihr Name anderen angezeigt.
register-submit = Konto anlegen
register-approval = Jedes neue Konto wird freigeschaltet, bevor es benutzt werden kann.
register-login = Stattdessen anmelden

register-username-taken-title = Benutzername vergeben
register-username-taken = Dieser Benutzername ist vergeben. Bitte wählen Sie einen anderen.
register-username-invalid = Ein Benutzername hat 1 bis 128 Zeichen, kein @ und kein Leerzeichen am Anfang oder Ende.
register-username-colon = Ein Benutzername darf keinen Doppelpunkt enthalten. Bitte wählen Sie einen anderen.
register-username-mixed = Ein Benutzername darf keine Buchstaben verschiedener Schriften mischen, etwa lateinische und kyrillische. Bitte wählen Sie einen anderen.
register-email-taken-title = E-Mail-Adresse vergeben
register-email-taken = Zu dieser E-Mail-Adresse gibt es ein Konto. Sie können sich damit anmelden.
register-email-invalid = Geben Sie eine E-Mail-Adresse wie name@example.com ein.
register-email-domain-title = E-Mail-Adresse nicht zugelassen
register-email-domain = Adressen dieser Domain können hier nicht benutzt werden.
register-name-invalid = Ein Name hat höchstens 256 Zeichen.
register-password-empty = Geben Sie ein Passwort ein.
register-unavailable = Das Konto kann gerade nicht angelegt werden. Bitte versuchen Sie es in einigen Sekunden erneut.
register-limited = Von hier aus wurden zu viele Konten angelegt. Bitte versuchen Sie es { $wait } erneut.
register-limited-title = Zu viele Anfragen
register-needs-invitation-title = Nur auf Einladung
register-needs-invitation = Konten werden hier auf Einladung angelegt. Bitten Sie die Administration um eine.
invitation-invalid = Eine Einladung gilt einmal und sieben Tage lang. Bitten Sie die Person, die Sie eingeladen hat, um eine neue.

confirm-heading = Adresse bestätigen
confirm-own-html = Ist <strong>{ $email }</strong> Ihre Adresse, und haben Sie das Konto <strong>{ $username }</strong> angelegt?
confirm-new-html = Soll <strong>{ $email }</strong> die Adresse des Kontos <strong>{ $username }</strong> werden?
confirm-submit = Ja, bestätigen
confirm-not-you = Falls Sie das nicht waren, schließen Sie diese Seite. Ohne Ihre Bestätigung geschieht nichts.
confirm-taken-title = Adresse vergeben
confirm-taken = Inzwischen gehört diese Adresse zu einem anderen Konto. Ihres behält die bisherige.

pending-unconfirmed-title = Bestätigen Sie zuerst Ihre Adresse
pending-unconfirmed = Ihr Passwort stimmt. Wir haben Ihnen eine E-Mail mit einem Link geschickt: Öffnen Sie ihn, um Ihre Adresse zu bestätigen, und melden Sie sich dann an.
pending-resend = E-Mail noch einmal senden
pending-spam = Falls keine E-Mail ankommt, sehen Sie im Spam-Ordner nach.
pending-approval-title = Fast geschafft
pending-approval = Ihr Passwort stimmt. Bevor Sie sich anmelden können, muss die Administration Ihr Konto freischalten.

notice-registered = Ihr Konto ist bereit. Sie können sich jetzt anmelden.
notice-registered-confirm = Bitte sehen Sie in Ihr Postfach: Unsere E-Mail enthält einen Link, der Ihre Adresse bestätigt.
notice-registered-waiting = Ihr Konto ist angelegt. Sie können sich anmelden, sobald es freigeschaltet ist.
notice-confirmation-sent = Falls das Konto auf seine Bestätigung wartet, ist eine E-Mail mit einem neuen Link unterwegs.
notice-address-confirmed = Ihre Adresse ist bestätigt. Sie können sich jetzt anmelden.
notice-address-confirmed-waiting = Ihre Adresse ist bestätigt. Sie können sich anmelden, sobald Ihr Konto freigeschaltet ist.
notice-address-changed = Ihre neue E-Mail-Adresse ist bestätigt.
