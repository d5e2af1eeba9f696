### E-Mails. Ein Betreff ist auch die Überschrift. Die Texte stehen in HTML und als reiner Text, darum ist in keinem Markup.

mail-hello = Guten Tag { $name },
mail-hello-nobody = Guten Tag,
mail-by-hand = Falls eine Schaltfläche nicht funktioniert, kopieren Sie ihre Adresse in Ihren Browser:
mail-ignore = Falls Sie das nicht angefordert haben, können Sie diese E-Mail ignorieren.
mail-footer = Diese E-Mail wurde automatisch von { $site } verschickt.

mail-sign-in = Anmelden
mail-set-password = Neues Passwort festlegen
mail-confirm = Adresse bestätigen
mail-accept = Einladung annehmen

mail-deleted-subject = Ihr Konto bei { $site } ist gelöscht
mail-deleted-what = Ihr Konto { $username } bei { $site } wurde soeben auf der Kontoseite nach Eingabe des Passworts gelöscht. Alles, was dazugehörte, ist ebenfalls gelöscht.
mail-deleted-else = Falls Sie das nicht waren, wenden Sie sich sofort an die Betreiber der Website.

mail-address-taken-subject = Sie haben bereits ein Konto bei { $site }
mail-address-taken-what = Jemand, vielleicht Sie selbst, wollte diese Adresse bei { $site } für ein anderes Konto verwenden. Sie gehört zu Ihrem Konto { $username } und bleibt dort.
mail-address-taken-next = Melden Sie sich mit Ihrem Benutzernamen und Ihrem Passwort an. Wenn Sie das Passwort vergessen haben, können Sie ein neues festlegen.
mail-address-taken-else = Falls Sie es nicht waren, müssen Sie nichts tun: Niemand hat erfahren, dass Sie ein Konto haben.

mail-address-changed-subject = Ihre E-Mail-Adresse bei { $site } wurde geändert
mail-address-changed-what = Die E-Mail-Adresse Ihres Kontos { $username } bei { $site } ist jetzt { $address }. E-Mails zu Ihrem Konto gehen von nun an dorthin und nicht mehr an diese Adresse.
mail-address-changed-else = Falls Sie das nicht waren, hat jemand anderes Zugriff auf Ihr Konto: Wenden Sie sich sofort an die Betreiber der Website.

mail-address-changing-subject = Ihre E-Mail-Adresse bei { $site } soll geändert werden
mail-address-changing-what = Jemand, der bei { $site } als { $username } angemeldet ist, möchte die E-Mail-Adresse des Kontos in { $address } ändern. Sie ändert sich, sobald die neue Adresse bestätigt ist.
mail-address-changing-else = Falls Sie das nicht waren, hat jemand anderes Zugriff auf Ihr Konto: Ändern Sie sofort Ihr Passwort.

mail-already-member-subject = Sie haben bereits ein Konto bei { $site }
mail-already-member-what = { $inviter } wollte Sie zu { $site } einladen. Diese Adresse gehört zu Ihrem dortigen Konto { $username }; Sie brauchen keine Einladung.
mail-already-member-else = Niemand hat erfahren, dass Sie ein Konto haben.

mail-approved-subject = Ihr Konto bei { $site } ist bereit
mail-approved-what = Ihr Konto { $username } bei { $site } wurde freigeschaltet. Sie können sich jetzt anmelden.

mail-confirm-subject = Bestätigen Sie Ihre E-Mail-Adresse für { $site }
mail-confirm-what = Danke für Ihre Registrierung bei { $site }. Bitte bestätigen Sie, dass diese Adresse Ihnen gehört. Danach können Sie sich als { $username } anmelden.

mail-confirm-new-subject = Bestätigen Sie Ihre neue E-Mail-Adresse für { $site }
mail-confirm-new-what = Bitte bestätigen Sie, dass dies die neue E-Mail-Adresse Ihres Kontos { $username } bei { $site } ist. Bis dahin gilt die alte.

mail-invitation-subject = Sie sind zu { $site } eingeladen
mail-invitation-what = Sie sind zu { $site } eingeladen. Wählen Sie einen Benutzernamen und ein Passwort, um Ihr Konto anzulegen.
mail-invitation-from = { $inviter } lädt Sie zu { $site } ein. Wählen Sie einen Benutzernamen und ein Passwort, um Ihr Konto anzulegen.
mail-invitation-once = Der Link ist nur für Sie bestimmt und funktioniert einmal.
mail-invitation-else = Falls Sie diese Einladung nicht erwartet haben, können Sie diese E-Mail ignorieren.

mail-password-subject = Ihr Passwort bei { $site } wurde geändert
mail-password-what = Das Passwort Ihres Kontos { $username } bei { $site } wurde soeben geändert. Wenn Sie das waren, müssen Sie nichts tun.
mail-password-else = Falls Sie es nicht waren, legen Sie sofort ein neues Passwort fest und wenden Sie sich an die Betreiber der Website.

mail-reset-subject = Neues Passwort für { $site } festlegen
mail-reset-what = Jemand, hoffentlich Sie selbst, hat für Ihr Konto { $username } bei { $site } ein neues Passwort angefordert. Der Link funktioniert einmal und gilt { $lasting }.
mail-reset-else = Falls Sie es nicht waren, können Sie diese E-Mail ignorieren: Ihr Passwort bleibt, wie es ist.

mail-test-subject = Test-E-Mail von { $site }
mail-test-what = Wenn Sie das lesen können, kann { $site } Ihnen E-Mails schicken.
