/* Every text that the scripts show, in one place; the core puts the user's language in. Texts about data of others end
 * where the data begins: they are put together as text, never as HTML. */
(function (Domoflux) {
  'use strict';

  Domoflux.texts = {
    language: '{{fr}}',
    named: '{{%s :}}',

    // The form
    byDefault: '{{par défaut :}}',
    isDefault: '{{(par défaut)}}',
    example: '{{ex. :}}',
    unset: '—',
    yes: '{{oui}}',
    no: '{{non}}',
    use: '{{Activer}}',
    required: '{{Obligatoire}}',
    onePerLine: '{{Une valeur par ligne}}',
    line: '{{ligne}}',
    notJson: "{{Ce n'est pas du JSON :}}",
    advanced: '{{Paramètres avancés}}',
    changed: '{{définis : %s}}',
    others: '{{Autres paramètres}}',
    othersHelp: '{{Inconnus de cette version du plugin : ils sont conservés tels quels.}}',
    item: '{{élément}}',
    add: '{{Ajouter : %s}}',
    up: '{{Monter}}',
    down: '{{Descendre}}',
    remove: '{{Supprimer}}',
    units: { B: '{{octets}}', s: 's' },
    unitHelp: {
      B: '{{En octets, ou avec une unité : 64 KiB, 4 MiB.}}',
      s: '{{En secondes, ou avec une unité : 500ms, 2m, 1h, 7d.}}',
    },

    // The states of a flow
    states: {
      serving: '{{En service}}',
      starting: '{{Démarrage}}',
      backoff: '{{Nouvel essai en attente}}',
      failed: '{{En échec}}',
      disabled: '{{Désactivé}}',
      unknown: '{{Inconnu}}',
    },

    // Units of numbers
    bytes: ['{{o}}', '{{Kio}}', '{{Mio}}', '{{Gio}}', '{{Tio}}'],
    perSecond: '/s',
    ago: { s: '{{%s s}}', m: '{{%s min}}', h: '{{%s h}}', d: '{{%s j}}' },

    // The live panel
    state: '{{État}}',
    since: '{{depuis}}',
    listening: '{{Écoute sur}}',
    notListening: '{{Aucune adresse en écoute}}',
    connections: '{{Connexions en cours}}',
    error: '{{Erreur}}',
    troubles: '{{En défaut}}',
    lastError: '{{Dernière erreur}}',
    retry: '{{Nouvel essai dans %s}}',
    deviceColumns: ['{{Appareil}}', '{{Connexions}}', '{{En attente}}', ''],
    unitColumns: ['{{Unité Modbus}}', '{{Requêtes}}', "{{Réponses de l'appareil}}", '{{Exceptions}}', '{{Sans réponse}}'],
    clients: '{{Clients}}',
    counters: '{{Compteurs}}',
    moreCounters: '{{Tous les compteurs}}',
    log: '{{Journal de ce flux}}',
    noLines: '{{Aucune ligne pour le moment. Le niveau de log du plugin décide de ce qui est noté.}}',
    restart: '{{Redémarrer le flux}}',
    restarted: '{{Flux redémarré}}',
    restartSure: '{{Redémarrer ce flux ? Ses connexions en cours seront coupées.}}',
    daemonAway: '{{Le démon domoflux ne répond pas : les flux déjà lancés sont peut-être arrêtés.}}',
    noFlow: "{{Le démon ne connaît pas encore ce flux : sauvegardez l'équipement.}}",
    noSpec: '{{Pas encore configuré : remplissez le formulaire, puis sauvegardez.}}',
    noFlowDisabled: '{{Équipement désactivé : son flux est arrêté.}}',
    noAnswer: '{{Jeedom ne répond pas :}}',
    advice: {
      config: '{{Corrigez la configuration, puis sauvegardez.}}',
      listen: "{{Vérifiez l'adresse et le port d'écoute : un autre programme les utilise peut-être.}}",
      downstream: '{{Vérifiez le client.}}',
      upstream: '{{Vérifiez que la destination est allumée et joignable.}}',
      internal: '{{Erreur interne du démon : joignez le journal à votre message au support.}}',
    },

    // The page
    name: "{{Nom de l'équipement}}",
    kind: '{{Type de flux}}',
    addTitle: '{{Nouveau flux}}',
    nameMissing: '{{Donnez un nom}}',
    unknownKind: '{{Type de flux inconnu de cette version :}}',
    notSaved: '{{Pas sauvegardé : corrigez les champs signalés.}}',
    specBroken: "{{La configuration enregistrée n'est pas du JSON : elle est montrée telle quelle.}}",
    tested: '{{Test terminé : %s}}',
    testNothing: '{{Rien à tester}}',
    testOk: '{{tout répond}}',
    testBad: '{{%s en échec}}',
    importTitle: '{{Importer de Traffic Mirror}}',
    healthTitle: '{{Santé de domoflux}}',

    // The table of commands
    commandName: '{{Nom de la commande}}',
    chooseIcon: '{{Choisir une icône}}',
    show: '{{Afficher}}',
    history: '{{Historiser}}',
    invert: '{{Inverser}}',
    unit: '{{Unité}}',
    configure: '{{Configurer}}',
    test: '{{Tester}}',
    types: { info: '{{Info}}', action: '{{Action}}' },
    subTypes: { numeric: '{{Numérique}}', binary: '{{Binaire}}', string: '{{Autre}}', other: '{{Défaut}}' },

    // The import
    importEnabled: '{{Actif}}',
    importDisabled: '{{Désactivé}}',
    importNew: '{{À importer}}',
    importDone: '{{Importé}}',
    importNone: '{{Aucun équipement de Traffic Mirror.}}',
    importNoSelection: '{{Rien de sélectionné}}',
    importSure: '{{Importer les équipements sélectionnés ? Le démon de Traffic Mirror sera arrêté.}}',
    undoSure: '{{Rendre les équipements sélectionnés à Traffic Mirror ?}}',
    importResult: '{{Équipements importés : %s.}}',
    undoResult: '{{Équipements rendus à Traffic Mirror : %s.}}',
    importFields: { listen: "{{Adresse d'écoute}}", target: '{{Destination}}', mirrors: '{{Miroir}}' },
    failed: '{{Échec :}}',
  };
}(window.Domoflux = window.Domoflux || {}));
