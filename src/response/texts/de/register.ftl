### Ein Konto anlegen und eine Adresse bestätigen.
