### Persönliche Zugriffstoken.

account-tokens = Persönliche Zugriffstoken
account-tokens-lead = Für Programme, die sich in Ihrem Namen anmelden: als Bearer-Token oder anstelle Ihres Passworts. Solche Token bleiben gültig, wenn Sie Ihr Passwort ändern; widerrufen Sie, was Sie nicht mehr brauchen.
account-token-new = Ihr neues Token
account-token-new-hint = Kopieren Sie es jetzt: Es wird nicht noch einmal angezeigt.
account-token-never = nie
account-token-made = Erstellt
account-token-left = Noch { $left } gültig
account-token-endless = Läuft nicht ab
account-token-routes-of = für
account-token-revoke = Widerrufen
account-token-name = Name
account-token-name-hint = Wofür es ist, zum Beispiel ein Telefon oder eine Sicherung.
account-token-name-odd = Der Name eines Tokens hat 1 bis 100 Zeichen, darunter kein Steuerzeichen.
account-token-days = Tage
account-token-days-hint = Wie viele Tage das Token gilt. Lassen Sie das Feld leer für ein Token, das nicht abläuft.
account-token-days-odd = Geben Sie eine Anzahl von 1 bis 3650 Tagen ein oder lassen Sie das Feld leer.
account-token-routes = Wofür es gilt
account-token-routes-hint = Wählen Sie nichts aus, damit es für alles gilt, was Sie öffnen dürfen.
account-token-route-odd = Die Route { $route } gibt es nicht, oder sie ist für Token nicht vorgesehen. Möglich sind: { $routes }.
account-token-no-scopes = Berechtigungen (Scopes) vergibt die Administration.
account-token-submit = Token erstellen
account-token-too-many = Sie haben { $limit } Token; mehr darf ein Konto nicht haben. Widerrufen Sie zuerst eines.
notice-token-revoked = Das Token ist widerrufen.
