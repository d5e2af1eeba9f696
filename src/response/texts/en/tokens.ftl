### Personal access tokens.

account-tokens = Personal access tokens
account-tokens-lead = For programs that sign in as you: as a Bearer token, or in place of your password. They stay when you change your password; revoke what you don’t need any more.
account-token-new = Your new token
account-token-new-hint = Copy it now: it is not shown again.
account-token-never = never
account-token-made = Made
account-token-left = Good for another { $left }
account-token-endless = Doesn’t expire
account-token-routes-of = for
account-token-revoke = Revoke
account-token-name = Name
account-token-name-hint = What it is for, such as a phone or a backup.
account-token-name-odd = A token’s name has 1 to 100 characters, none of them a control character.
account-token-days = Days
account-token-days-hint = For how many days it is good. Leave this empty for a token that doesn’t expire.
account-token-days-odd = Enter a number of days from 1 to 3650, or none.
account-token-routes = What it is for
account-token-routes-hint = Choose none for everything that you may open.
account-token-route-odd = There is no { $route } that a token could be for; there are: { $routes }.
account-token-no-scopes = Scopes are given by an administrator.
account-token-submit = Make a token
account-token-too-many = You have { $limit } tokens, the most that an account may have. Revoke one first.
notice-token-revoked = That token is revoked.
